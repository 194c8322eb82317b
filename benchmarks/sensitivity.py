"""Which image metric notices what: Fashion-MNIST images, spoilt in known ways, through each extractor.

Samples are training images, spoilt; the floor is other training images, as they are; both are compared with the same test
images, all three of n. So a row without harm must be at its floor. Noise (standard deviation in units of [-1, 1]) and blur
(standard deviation in pixels) harm quality, which the Frechet distance and precision must notice; classes that are left out and
a few images repeated harm diversity, which recall must.
"""

import time
from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.metrics import over_floor
from components.streams import stream
from pipeline.data.sets import fashion_mnist
from pipeline.evaluation.extractors import Images, Pixels, extractor
from pipeline.evaluation.image_metrics import image_metrics
from pipeline.evaluation.networks.lenet import NUM_CLASSES

NUM_SAMPLES, NUM_DISTINCT = 5000, 100
SEEDS = {"lenet": 3, "effnet": 1}  # effnet takes 20 ms of a core per image
HARMS: dict[str, tuple[float, ...]] = {
    "none": (0,),
    "noise": (0.05, 0.1, 0.2, 0.4),
    "blur": (0.5, 1, 2),
    "classes_dropped": (1, 3, 5),
    "distinct_images": (NUM_DISTINCT,),
}
QUICK = ("none", 0), ("noise", 0.4), ("blur", 2), ("classes_dropped", 5), ("distinct_images", 10)


def cases(quick: bool) -> list[Row]:
    """List the cases: extractor, harm, its strength, and seed."""
    if quick:
        todo = [("lenet", harm, strength, 0, 500) for harm, strength in QUICK] + [("effnet", "noise", 0.4, 0, 100)]
    else:
        todo = [
            (name, harm, strength, seed, NUM_SAMPLES)
            for name, num_seeds in SEEDS.items()
            for seed in range(num_seeds)
            for harm, strengths in HARMS.items()
            for strength in strengths
        ]
    return [dict(zip(("extractor", "harm", "strength", "seed", "n"), case, strict=True)) for case in todo]


def unit_range(images: Pixels) -> Images:
    """Scale grey images of 8 bits to [-1, 1], and give them a channel: (n, h, w) to (n, 1, h, w).

    >>> unit_range(np.array([[[0, 255]]], np.uint8))
    array([[[[-1.,  1.]]]], dtype=float32)
    """
    return images[:, None].astype(np.float32) / 127.5 - 1


def spoilt(images: Pixels, classes: np.ndarray, harm: str, strength: float, *, n: int, seed: int) -> Images:
    """Draw n of the images without replacement, and do them one harm: noise, blur, dropped classes, or few distinct ones."""
    rng = stream(seed, "evaluation_source")
    dropped = rng.permutation(NUM_CLASSES)[: int(strength) if harm == "classes_dropped" else 0]
    chosen = rng.permutation(np.flatnonzero(~np.isin(classes, dropped)))[:n]
    if harm == "distinct_images":
        chosen = np.resize(chosen[: int(strength)], n)
    samples: Images = unit_range(images[chosen])
    if harm == "noise":
        samples = samples + np.float32(strength) * rng.standard_normal(samples.shape, dtype=np.float32)
    elif harm == "blur":
        samples = gaussian_filter(samples, strength, axes=(2, 3))
    return samples


def measure(case: Row) -> Iterator[Row]:
    """Measure the image metrics of spoilt images, and yield the row of a case."""
    began, n, seed = time.process_time(), case["n"], case["seed"]
    train, test = fashion_mnist.read_images()
    classes, _ = fashion_mnist.read_labels()
    first_half, second_half = np.array_split(stream(seed, "evaluation_floor").permutation(len(train)), 2)
    samples = spoilt(train[first_half], classes[first_half], case["harm"], case["strength"], n=n, seed=seed)
    reference = unit_range(test[stream(seed, "evaluation_target").permutation(len(test))[:n]])
    network = extractor(case["extractor"])
    metrics = image_metrics(samples, unit_range(train[second_half[:n]]), reference, network)
    named = {name.removeprefix(f"{network.name}_"): value for name, value in metrics.items()}
    ratios = {f"{name}_ratio": over_floor(named[name], named[f"{name}_floor"]) for name in ("frechet", "precision", "recall")}
    yield named | ratios | {"sha256": network.sha256, "cpu_seconds": time.process_time() - began}


INDEX = ("extractor", "harm", "strength", "n")
PIVOTS = [
    Pivot(INDEX, None, ("frechet", "frechet_floor", "frechet_ratio", "kid", "kid_floor"), "distances beside their floors"),
    Pivot(
        INDEX,
        None,
        ("precision_ratio", "recall_ratio", "class_kl", "class_kl_floor", "classes_covered"),
        "precision and recall relative to their floors; balance of the classes that lenet sees",
    ),
]

if __name__ == "__main__":
    main("sensitivity", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
