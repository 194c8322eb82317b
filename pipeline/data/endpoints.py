"""The two ends of a flow as streams of samples, and the real data sets behind them."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from filelock import FileLock
from jaxtyping import Float, UInt8

from components.measures import Measure, measure
from components.streams import normal, stream
from pipeline import cluster as clusters
from pipeline.cluster import Cluster, home
from pipeline.data.image_sets import At, ImageSet, Mapped, open_images, read_manifest, uri_of
from pipeline.data.pixels import Pixels
from pipeline.data.preparing.readers import read_idx
from pipeline.data.streaming import Streamed
from pipeline.errors import FlowError, Unusable
from pipeline.provenance import redacted
from pipeline.recipe import DATASETS, Data, Recipe, built_in

logger = logging.getLogger(__name__)
Samples = Float[np.ndarray, "n *shape"]
Sampler = Callable[[int, np.random.Generator], Samples]
NUM_TEST_DIGITS = 500
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DIGESTS = {
    "digits": "b41ca9fd335466eee997366c2e6f6bbe0a1b4582afe091fc4eba35f4a254182f",
    "fashion_mnist": "0fbbfcb392782b3b702472ead3688778e1509e8cf40f5c24d9d3303618b193ab",
}


@dataclass(frozen=True)
class Endpoints:
    """Source and target of a flow.

    Attributes:
        shape: of one sample, without the batch: (d,) or (channels, side, side).
        source: samples of mu, in the space the flow lives in.
        target: training samples of nu, in the space the flow lives in.
        held_out: samples of nu that training never sees, in the data's own units; of a data set none comes twice, and all there
            are where more are asked for.
        seen: the same of what training does see: floors compare these with held-out ones.
        num_distinct: how many there are of held-out samples, or of seen ones where they are fewer; None for an analytic measure.
        shift, scale: units = shift + scale * space.
        modes: the analytic measure, where it has modes.
        where: the folder of prepared sets that images came from, as `load_endpoints` was given it.
        batches: how a step's batch of an end is read where that is more than a draw from its sampler.
    """

    shape: tuple[int, ...]
    source: Sampler
    target: Sampler
    held_out: Sampler
    seen: Sampler
    num_distinct: int | None
    shift: np.ndarray
    scale: float
    modes: Measure | None
    where: str | None = None
    batches: Mapping[str, Callable[[At], Samples]] = field(default_factory=dict)

    def batch(self, end: str, at: At) -> Samples:
        """One rank's rows of the global batch of `source` or `target`, in the space the flow lives in."""
        if end in self.batches:
            return self.batches[end](at)
        sample = self.source if end == "source" else self.target
        return sample(at.n, stream(at.seed, end, phase=at.phase, step=at.step))[at.rows]

    def to_units(self, samples: Samples) -> Samples:
        """From the space the flow lives in to the data's own units."""
        return (self.shift + self.scale * samples).astype(np.float32)


def load_endpoints(data: Data, where: str | None = None) -> Endpoints:
    """Source and target of a recipe.

    Args:
        where: folder or URL of prepared sets; None: $SJKO_HOME/data, and what is built in is read as it comes.

    Raises:
        FlowError: a data set is not on this machine, or not the one that the recipe means.
    """
    return _from_images(data, where) if data.target in DATASETS else _from_measure(data)


def sample_shape(data: Data) -> tuple[int, ...]:
    """Of one sample, without loading anything."""
    if data.target in DATASETS:
        channels, side = DATASETS[data.target]
        size = data.size or side
        assert size is not None
        return channels, size, size
    return (data.dim if data.target == "gaussian" else 2,)


def load_source(data: Data, shape: tuple[int, ...], shift: np.ndarray, scale: float, where: str | None = None) -> Endpoints:
    """What drawing from a trained map needs, without the data set: who samples does not have it.

    Raises:
        FlowError: the source is a set of images, and not on this machine.
    """
    if data.target not in DATASETS:
        return load_endpoints(data)

    def absent(n: int, rng: np.random.Generator) -> Samples:
        raise FlowError(f"data.target: {data.target} was not loaded, only what drawing from its maps needs")

    images = None if data.source == "normal" else _images(data, "source", where)
    source = _noise(shape) if images is None else _sampler(lambda n, rng: _to_unit_range(images.sample(n, rng)), shift, scale)
    return Endpoints(shape, source, absent, absent, absent, None, shift, scale, None, where)


def resolve(recipe: Recipe, cluster: Cluster) -> Recipe:
    """The recipe with what its data leave open: digests of prepared images, and whether these are streamed.

    Raises:
        Unusable: a set was not prepared, or from other images than the recipe means.
    """
    data, where = recipe.data, clusters.data(cluster)
    for end in ("target", "source"):
        prepared = _prepared(data, end, where)
        if prepared is None or built_in(*_named(data, end)):
            continue
        too_large = prepared.decoded_bytes("train") > cluster.max_cached_gb * 1e9
        data = replace(data, streamed=data.streamed or too_large)
        data = replace(data, digest=prepared.digest) if end == "target" else replace(data, source_digest=prepared.digest)
    return replace(recipe, data=data)


def _affine(samples: Samples, standardise: bool) -> tuple[np.ndarray, float]:
    """Mean per coordinate and one common standard deviation: a similarity, which scales W2 by `scale` exactly."""
    if not standardise:
        return np.zeros(samples.shape[1:], dtype=np.float32), 1.0
    flat = samples.reshape(len(samples), -1).astype(np.float64)
    mean = flat.mean(0)
    return mean.reshape(samples.shape[1:]).astype(np.float32), float(np.sqrt(flat.var(0).mean()))


def _sampler(sample: Sampler, shift: np.ndarray, scale: float) -> Sampler:
    return lambda n, rng: ((sample(n, rng) - shift) / scale).astype(np.float32)


def _from_measure(data: Data) -> Endpoints:
    target = measure(data.target, data.dim if data.target == "gaussian" else 2)
    shift, scale = _affine(target.sample(65_536, stream(0, "standardisation")), data.standardise)
    if data.source == "normal":
        source = measure("normal", target.dim).sample
    else:
        source = _sampler(measure(data.source, target.dim).sample, shift, scale)
    return Endpoints(
        shape=(target.dim,),
        source=source,
        target=_sampler(target.sample, shift, scale),
        held_out=target.sample,
        seen=target.sample,
        num_distinct=None,
        shift=shift,
        scale=scale,
        modes=target if target.mode_of else None,
    )


def _noise(shape: tuple[int, ...]) -> Sampler:
    return lambda n, rng: normal(rng, n, *shape)


def _from_images(data: Data, where: str | None) -> Endpoints:
    target = _images(data, "target", where)
    source = None if data.source == "normal" else _images(data, "source", where)
    return image_endpoints(data, target, source, where)


def image_endpoints(
    data: Data, target: Mapped | Streamed, source: Mapped | Streamed | None = None, where: str | None = None
) -> Endpoints:
    """Make images (n, channels, side, side) in [-1, 1] the ends of a flow; the test split is held out.

    Args:
        source: None for noise.
    """
    shift, scale = _standardisation(data, target)
    if source is not None and source.shape != target.shape:
        raise Unusable(f"data.source: images of {data.source} are {source.shape}, those of {data.target} {target.shape}")

    def to_space(images: Pixels) -> Samples:
        samples: Samples = ((_to_unit_range(images) - shift) / scale).astype(np.float32)
        return samples

    def target_batch(at: At) -> Samples:
        images = target.batch("target", at)
        if data.flip:
            mirrored = stream(at.seed, "flip", phase=at.phase, step=at.step).random(at.n)[at.rows] < 0.5
            images = np.where(mirrored[:, None, None, None], images[..., ::-1], images)
        return to_space(images)

    batches: dict[str, Callable[[At], Samples]] = {"target": target_batch}
    if source is not None:
        batches["source"] = lambda at: to_space(source.batch("source", at))
    return Endpoints(
        shape=target.shape,
        source=_noise(target.shape) if source is None else lambda n, rng: to_space(source.sample(n, rng)),
        target=lambda n, rng: to_space(target.sample(n, rng)),
        held_out=lambda n, rng: _to_unit_range(target.held_out(n, rng)),
        seen=lambda n, rng: _to_unit_range(target.seen(n, rng)),
        num_distinct=min(target.num_held_out, target.num_seen),
        shift=shift,
        scale=scale,
        modes=None,
        where=where,
        batches=batches,
    )


def _images(data: Data, end: str, where: str | None) -> Mapped | Streamed:
    """The images of an end: built in, or prepared and then mapped into memory or streamed."""
    name, size, digest = _named(data, end)
    prepared = _prepared(data, end, where)
    if not built_in(name, size, digest):
        assert prepared is not None
        if data.streamed:
            return Streamed(prepared)
        return Mapped(prepared.mapped("train"), prepared.mapped("test"), prepared.moments())
    if prepared is None:
        train, test = (images[:, None] for images in DATASET_READERS[name]())
    else:
        train, test = prepared.mapped("train"), prepared.mapped("test")
    found = digest_of(train, test)
    if found != DIGESTS[name]:
        place = "on this machine" if prepared is None else f"at {redacted(prepared.uri)}"
        raise FlowError(f"data.{end}: {name} {place} has sha256 {found}, not {DIGESTS[name]}")
    return Mapped(train, test)


def _named(data: Data, end: str) -> tuple[str, int | None, str | None]:
    """Name, size and digest of an end."""
    return (data.target, data.size, data.digest) if end == "target" else (data.source, data.size, data.source_digest)


def _prepared(data: Data, end: str, where: str | None) -> ImageSet | None:
    """The prepared set of an end; None where there is none and none is needed.

    Raises:
        Unusable: it is needed.
    """
    name, size, digest = _named(data, end)
    if name not in DATASETS or name == "digits":
        return None
    uri = uri_of(name, size or DATASETS[name][1] or 0, where)
    if built_in(name, size, digest) and (where is None or read_manifest(uri) is None):
        return None
    try:
        return open_images(uri, digest)
    except Unusable as error:
        flags = (f" --to {redacted(where)}" if where else "") + (f" --size {size}" if size else "")
        raise Unusable(f"data.{end}: {error}. Prepare it: python -m pipeline prepare {name} --from PATH{flags}") from error


def _standardisation(data: Data, target: Mapped | Streamed) -> tuple[np.ndarray, float]:
    """Mean per pixel and common standard deviation of the training images, with their mirror images where they are flipped."""
    if not data.standardise:
        return np.zeros(target.shape, dtype=np.float32), 1.0
    if target.moments is None:
        assert isinstance(target, Mapped)
        shift, scale = _affine(_to_unit_range(target.train), data.standardise)
    else:
        mean, variance = target.moments
        shift, scale = (mean / (255 / 2) - 1).astype(np.float32), float(np.sqrt(variance.mean())) / (255 / 2)
    if data.flip:
        half = (shift - shift[..., ::-1]) / 2
        shift, scale = shift - half, float(np.sqrt(scale**2 + (half.astype(np.float64) ** 2).mean()))
    if scale == 0:
        raise Unusable(f"data.standardise must be false where all images of {data.target} are equal")
    return shift, scale


def _to_unit_range(images: Pixels) -> Float[np.ndarray, "n c s s"]:
    """From grey levels 0-255 to [-1, 1]."""
    return (images.astype(np.float32) / (255 / 2)) - 1


def _read_digits() -> tuple[UInt8[np.ndarray, "n s s"], UInt8[np.ndarray, "m s s"]]:
    """The 1,797 real 8 x 8 scans that scikit-learn carries, grey levels 0-16 stretched to 0-255; the last 500 are held out."""
    from sklearn.datasets import load_digits

    images = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    return images[:-NUM_TEST_DIGITS], images[-NUM_TEST_DIGITS:]


def _read_fashion_mnist() -> tuple[UInt8[np.ndarray, "n s s"], UInt8[np.ndarray, "m s s"]]:
    """60,000 + 10,000 images from Debian's package, else from torchvision's copy, downloaded once under $SJKO_HOME."""
    names = ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")
    if all((DEBIAN_FOLDER / name).exists() for name in names):
        train, test = (read_idx(DEBIAN_FOLDER / name) for name in names)
        return train, test
    return _downloaded_fashion_mnist(home() / "data")


def _downloaded_fashion_mnist(folder: Path) -> tuple[UInt8[np.ndarray, "n s s"], UInt8[np.ndarray, "m s s"]]:
    """The same images from torchvision, downloaded by one process while others wait, and again where the copy is damaged."""
    from torchvision.datasets import FashionMNIST

    copy = folder / "FashionMNIST"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "fashion_mnist.lock"):
        while True:
            was_there = copy.exists()
            try:
                train, test = (FashionMNIST(str(folder), train=train, download=True).data.numpy() for train in (True, False))
            except Exception as error:  # torchvision raises whatever its mirrors, archives and disks do
                if not was_there:
                    shutil.rmtree(copy, ignore_errors=True)  # half a download
                    raise FlowError(
                        "data.target: fashion_mnist is not on this machine and could not be downloaded "
                        f"({type(error).__name__}); install Debian's package dataset-fashion-mnist, or connect to the network "
                        "once"
                    ) from error
            else:
                if not was_there or digest_of(train, test) == DIGESTS["fashion_mnist"]:
                    return train, test
            logger.warning("%s is damaged: it is downloaded again", copy)
            shutil.rmtree(copy)


def digest_of(train: np.ndarray, test: np.ndarray) -> str:
    """sha256 of the training images, then the test images, as DIGESTS has it."""
    return hashlib.sha256(train.tobytes() + test.tobytes()).hexdigest()


DATASET_READERS = {"digits": _read_digits, "fashion_mnist": _read_fashion_mnist}
