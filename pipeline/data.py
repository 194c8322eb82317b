"""The two ends of a flow as streams of samples, and the real data sets behind them."""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from components.measures import Measure, measure
from components.streams import normal, stream
from pipeline.cluster import home
from pipeline.errors import FlowError
from pipeline.recipe import DATASETS, Data

Samples = Float[np.ndarray, "n *shape"]
Sampler = Callable[[int, np.random.Generator], Samples]
NUM_TEST_DIGITS = 500
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
# sha256 of the training images, then the test images, as raw bytes.
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
        held_out: samples of nu that training never sees, in the data's own units; without replacement for data sets.
        num_held_out: how many of those there are; None for an analytic measure.
        shift, scale: units = shift + scale * space.
        modes: the analytic measure, where it has modes.
    """

    shape: tuple[int, ...]
    source: Sampler
    target: Sampler
    held_out: Sampler
    num_held_out: int | None
    shift: np.ndarray
    scale: float
    modes: Measure | None

    def to_units(self, samples: Samples) -> Samples:
        """From the space the flow lives in to the data's own units."""
        return (self.shift + self.scale * samples).astype(np.float32)


def load_endpoints(data: Data) -> Endpoints:
    """Source and target of a recipe.

    Raises:
        FlowError: a data set is not on this machine, or not the one that the recipes mean.
    """
    return _from_dataset(data) if data.target in DATASETS else _from_measure(data)


def load_source(data: Data, shape: tuple[int, ...], shift: np.ndarray, scale: float) -> Endpoints:
    """What drawing from a trained map needs, without the data set: who samples does not have it."""
    if data.target not in DATASETS:
        return load_endpoints(data)

    def absent(n: int, rng: np.random.Generator) -> Samples:
        raise FlowError(f"data.target: {data.target} was not loaded, only what drawing from its maps needs")

    return Endpoints(shape, lambda n, rng: normal(rng, n, *shape), absent, absent, None, shift, scale, None)


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
        num_held_out=None,
        shift=shift,
        scale=scale,
        modes=target if target.mode_of else None,
    )


def _from_dataset(data: Data) -> Endpoints:
    """Images (n, channels, side, side) in [-1, 1]; the test split is held out."""
    train, test = DATASET_READERS[data.target]()
    digest = hashlib.sha256(train.tobytes() + test.tobytes()).hexdigest()
    if digest != DIGESTS[data.target]:
        raise FlowError(f"data.target: {data.target} on this machine has sha256 {digest}, not {DIGESTS[data.target]}")
    train_images, test_images = _to_unit_range(train), _to_unit_range(test)
    shift, scale = _affine(train_images, data.standardise)
    shape = train_images.shape[1:]

    def draw(n: int, rng: np.random.Generator) -> Samples:
        return train_images[rng.integers(len(train_images), size=n)]

    def held_out(n: int, rng: np.random.Generator) -> Samples:
        return test_images[rng.permutation(len(test_images))[:n]]

    return Endpoints(
        shape=shape,
        source=lambda n, rng: normal(rng, n, *shape),
        target=_sampler(draw, shift, scale),
        held_out=held_out,
        num_held_out=len(test_images),
        shift=shift,
        scale=scale,
        modes=None,
    )


def _to_unit_range(images: UInt8[np.ndarray, "n s s"]) -> Float[np.ndarray, "n 1 s s"]:
    return (images[:, None].astype(np.float32) / (255 / 2)) - 1


def _read_digits() -> tuple[UInt8[np.ndarray, "n s s"], UInt8[np.ndarray, "m s s"]]:
    """The 1,797 real 8 x 8 scans that scikit-learn carries, grey levels 0-16 stretched to 0-255; the last 500 are held out."""
    from sklearn.datasets import load_digits

    images = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    return images[:-NUM_TEST_DIGITS], images[-NUM_TEST_DIGITS:]


def _read_idx(path: Path) -> UInt8[np.ndarray, "n s s"]:
    """A gzipped idx file of images: a header of four big-endian integers, then bytes."""
    content = gzip.decompress(path.read_bytes())
    _, count, rows, columns = np.frombuffer(content, dtype=">u4", count=4)
    return np.frombuffer(content, dtype=np.uint8, offset=16).reshape(count, rows, columns)


def _read_fashion_mnist() -> tuple[UInt8[np.ndarray, "n s s"], UInt8[np.ndarray, "m s s"]]:
    """60,000 + 10,000 images from Debian's package, else from torchvision's copy, downloaded once under $SJKO_HOME."""
    names = ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")
    if all((DEBIAN_FOLDER / name).exists() for name in names):
        train, test = (_read_idx(DEBIAN_FOLDER / name) for name in names)
        return train, test
    from torchvision.datasets import FashionMNIST

    try:
        splits = [FashionMNIST(str(home() / "data"), train=train, download=True).data.numpy() for train in (True, False)]
    except Exception as error:  # torchvision raises whatever its mirrors, archives and disks do
        raise FlowError(
            "data.target: fashion_mnist is not on this machine and could not be downloaded "
            f"({type(error).__name__}); install Debian's package dataset-fashion-mnist, or connect to the network once"
        ) from error
    return splits[0], splits[1]


DATASET_READERS = {"digits": _read_digits, "fashion_mnist": _read_fashion_mnist}
