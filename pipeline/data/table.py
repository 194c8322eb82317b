"""The names that a recipe may give its source and target, and where the object behind each is.

This file imports nothing, so that `--help` can list the names. To add a source, write one file that holds a
`pipeline.data.specs.SourceSpec`, and one line here.
"""

MEASURES = {
    "normal": "pipeline.data.analytic:NORMAL",
    "gaussian": "pipeline.data.analytic:GAUSSIAN",
    "gauss8": "pipeline.data.analytic:GAUSS8",
    "gauss25": "pipeline.data.analytic:GAUSS25",
    "two_circles": "pipeline.data.analytic:TWO_CIRCLES",
    "moons": "pipeline.data.analytic:MOONS",
    "checkerboard": "pipeline.data.analytic:CHECKERBOARD",
    "spiral": "pipeline.data.analytic:SPIRAL",
    "swiss_roll": "pipeline.data.analytic:SWISS_ROLL",
    "pinwheel": "pipeline.data.analytic:PINWHEEL",
}
"""Analytic measures."""
IMAGE_SETS = {
    "digits": "pipeline.data.sets.digits:DIGITS",
    "fashion_mnist": "pipeline.data.sets.fashion_mnist:FASHION_MNIST",
    "mnist": "pipeline.data.sets.mnist:MNIST",
    "emnist_letters": "pipeline.data.sets.mnist:EMNIST_LETTERS",
    "cifar10": "pipeline.data.sets.cifar10:CIFAR10",
    "celeba_hq": "pipeline.data.sets.folders:FOLDER",
    "image_folder": "pipeline.data.sets.folders:FOLDER",
}
"""Sets of images, each a `pipeline.data.images.image_set.ImageSet`: what `python -m pipeline prepare` takes."""


OWN = "pipeline.data.own:OwnSpec"
"""What makes the specification of a source from outside this repository, of its name."""
TABLES = {
    "penguins": "pipeline.data.sets.penguins:PENGUINS",
}
"""Tables that come with this repository."""
TABLE = "pipeline.data.tables.spec:TableSpec"
"""What makes the specification of a table, of its path or URL."""


def names() -> tuple[str, ...]:
    """List all sources: each may be the source or the target of a flow.

    Example:
        >>> "moons" in names()
        True
    """
    return (*MEASURES, *IMAGE_SETS, *TABLES)
