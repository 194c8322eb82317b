"""Train the small classifiers that image metrics look through: done once, shipped with their hash.

python -m pipeline.evaluation.train_lenet fashion_mnist        # minutes on one core; prints accuracy and hash, writes assets/
python -m pipeline.evaluation.train_lenet digits

The networks are fixed: figures compare only where the hash is the same, so training one again (other processors round
differently) makes other figures. `pipeline.evaluation.lenet` knows the hashes and loads no other file.
"""

import argparse
import gzip
import hashlib
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch.nn import functional

from pipeline.cluster import home
from pipeline.data.endpoints import DATASET_READERS, DEBIAN_FOLDER, NUM_TEST_DIGITS
from pipeline.evaluation.lenet import ASSETS, LeNet

NUM_STEPS = {"fashion_mnist": 7000, "digits": 1500}
BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 128, 2e-3, 1e-2
Labels = Int[np.ndarray, " n"]


def _labels_of_digits() -> tuple[Labels, Labels]:
    """Read the classes of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    target = load_digits().target.astype(np.int64)
    return target[:-NUM_TEST_DIGITS], target[-NUM_TEST_DIGITS:]


def _labels_of_fashion_mnist() -> tuple[Labels, Labels]:
    """Read the classes of Fashion-MNIST, from where its images are."""
    paths = [DEBIAN_FOLDER / f"{split}-labels-idx1-ubyte.gz" for split in ("train", "t10k")]
    if all(path.exists() for path in paths):
        # an idx file of labels: a header of two integers, then bytes
        train, test = (np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8).astype(np.int64) for path in paths)
        return train, test
    from torchvision.datasets import FashionMNIST  # the reader of the images has downloaded it

    train, test = (FashionMNIST(str(home() / "data"), train=train).targets.numpy() for train in (True, False))
    return train, test


LABEL_READERS: dict[str, Callable[[], tuple[Labels, Labels]]] = {
    "digits": _labels_of_digits,
    "fashion_mnist": _labels_of_fashion_mnist,
}
"""The classes of the training and test images that `DATASET_READERS` gives, in their order."""


def train(images: UInt8[np.ndarray, "n s s"], classes: Labels, steps: Iterable[int], num_steps: int, seed: int = 0) -> LeNet:
    """Train a LeNet with `num_steps` of AdamW on cross entropy, the learning rate falling as a cosine."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network, rng = LeNet(), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / num_steps))
        rows = rng.integers(len(images), size=BATCH_SIZE)
        _, logits = network(torch.from_numpy(images[rows][:, None]))
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(logits, torch.from_numpy(classes[rows])))
        optimizer.step()
    return network.eval().requires_grad_(False)


def accuracy(network: LeNet, images: UInt8[np.ndarray, "n s s"], classes: Labels) -> float:
    """Count the share of images whose class is the most probable one."""
    with torch.inference_mode():
        predicted = [network(block)[1].argmax(1).numpy() for block in torch.split(torch.tensor(images[:, None]), 1000)]
    return float((np.concatenate(predicted) == classes).mean())


def main() -> None:
    """Train, measure on the test images, write."""
    parser = argparse.ArgumentParser("python -m pipeline.evaluation.train_lenet", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", choices=sorted(NUM_STEPS))
    parser.add_argument("--to", type=Path, metavar="FILE", help="default: the file in pipeline/evaluation/assets that is in use")
    arguments = parser.parse_args()
    images, test_images = DATASET_READERS[arguments.dataset]()
    classes, test_classes = LABEL_READERS[arguments.dataset]()
    num_steps = NUM_STEPS[arguments.dataset]
    network = train(images, classes, track(range(num_steps), "training", transient=True), num_steps)
    path = arguments.to or ASSETS / f"lenet_{arguments.dataset}.safetensors"
    save_file(network.state_dict(), path)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"test accuracy {accuracy(network, test_images, test_classes):.4f}")
    console.print(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}, which pipeline.evaluation.lenet must name")


if __name__ == "__main__":
    main()
