"""Train the small classifiers that image metrics look through: done once, shipped with their hash.

python -m pipeline.evaluation.networks.train_lenet fashion_mnist    # minutes on one core; prints accuracy and hash
python -m pipeline.evaluation.networks.train_lenet digits

The networks are fixed: figures compare only where the hash is the same, so training one again (other processors round
differently) makes other figures. `pipeline.evaluation.networks.lenet` knows the hashes and loads no other file.
"""

import argparse
import hashlib
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch.nn import functional

from pipeline.data.images.image_set import BuiltIn, image_sets
from pipeline.evaluation.networks.lenet import ASSETS, LeNet

NUM_STEPS = {"fashion_mnist": 7000, "digits": 1500}
BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 128, 2e-3, 1e-2
Labels = Int[np.ndarray, " n"]


def built_in(dataset: str) -> BuiltIn:
    """Find the images and labels that a network is trained on."""
    dataset_with_labels = image_sets()[dataset].built_in
    assert dataset_with_labels is not None
    return dataset_with_labels


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
    """Train a LeNet on the data set that the command line names, print its accuracy on the test images, and write it."""
    parser = argparse.ArgumentParser(
        "python -m pipeline.evaluation.networks.train_lenet", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("dataset", choices=sorted(NUM_STEPS))
    parser.add_argument(
        "--to", type=Path, metavar="FILE", help="default: the file in pipeline/evaluation/networks/assets that is in use"
    )
    arguments = parser.parse_args()
    dataset = built_in(arguments.dataset)
    (images, test_images), (classes, test_classes) = dataset.images(), dataset.labels()
    num_steps = NUM_STEPS[arguments.dataset]
    network = train(images, classes, track(range(num_steps), "training", transient=True), num_steps)
    path = arguments.to or ASSETS / f"lenet_{arguments.dataset}.safetensors"
    save_file(network.state_dict(), path)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"test accuracy {accuracy(network, test_images, test_classes):.4f}")
    console.print(
        f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}, which pipeline.evaluation.networks.lenet must name"
    )


if __name__ == "__main__":
    main()
