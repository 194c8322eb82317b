"""Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 images of clothes, from Debian's package or downloaded once."""

import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np

from pipeline.data.images.image_set import BuiltIn, ImageSet, LabelPair, Pair
from pipeline.data.preparing.idx import LABELS_MAGIC, mnist_files, read_idx
from pipeline.errors import FlowError
from pipeline.files import lock_at
from pipeline.places import home

logger = logging.getLogger(__name__)
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SHA256 = "0fbbfcb392782b3b702472ead3688778e1509e8cf40f5c24d9d3303618b193ab"


def read_images() -> Pair:
    """Read training and test images from Debian's package, else from torchvision's copy, downloaded once under $SJKO_HOME."""
    paths = _of_debian("images-idx3-ubyte.gz")
    if all(path.exists() for path in paths):
        train, test = map(read_idx, paths)
        return train, test
    return _downloaded(home() / "data")


def read_labels() -> LabelPair:
    """Read the classes of the images, in the same order, from where the images are read."""
    paths = _of_debian("labels-idx1-ubyte.gz")
    if all(path.exists() for path in paths):
        train, test = (read_idx(path, LABELS_MAGIC).astype(np.int64) for path in paths)
        return train, test
    from torchvision.datasets import FashionMNIST  # the reader of the images has downloaded it

    train, test = (FashionMNIST(str(home() / "data"), train=train).targets.numpy() for train in (True, False))
    return train, test


def _of_debian(ending: str) -> list[Path]:
    return [DEBIAN_FOLDER / f"{split}-{ending}" for split in ("train", "t10k")]


def _downloaded(folder: Path) -> Pair:
    """Read torchvision's copy, downloaded by one process while others wait, and again where the copy is damaged."""
    from torchvision.datasets import FashionMNIST

    copy = folder / "FashionMNIST"
    with lock_at(folder / "fashion_mnist.lock"):
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
                if not was_there or hashlib.sha256(train.tobytes() + test.tobytes()).hexdigest() == SHA256:
                    return train, test
            logger.warning("%s is damaged: it is downloaded again", copy)
            shutil.rmtree(copy)


FASHION_MNIST = ImageSet(1, 28, mnist_files("", "t10k"), BuiltIn(read_images, read_labels, SHA256), CLASSES)
