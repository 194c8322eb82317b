"""Distances between sets of images, in the space of some network's features; balance of classes.

What is called FID and KID elsewhere are these figures on the features of one particular network, Inception v3. On other features
they have other values and other names: who reports one names the extractor.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from components.metrics import LEAST_SAMPLES, comparable, mode_statistics, precision_recall

Features = Float[np.ndarray, "n d"]
NUM_NEIGHBOURS = 3
"""Of precision and recall on features (Kynkaanniemi et al. 2019), and torch-fidelity's."""


def frechet_distance(x: Features, y: Float[np.ndarray, "m d"]) -> float:
    """Measure the squared 2-Wasserstein distance of two samples' Gaussian fits; NaN where not finite, or of one sample.

    |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017, Eq. 6), with unbiased
    covariances. Where C = R^T R, the trace of the root is the nuclear norm of R_x R_y^T; R comes from the samples by a QR
    decomposition. So nothing is squared first and rooted later, and fewer samples than dimensions are no special case. The
    distance of finite samples is biased upwards: it compares only with another of the same n.
    """
    if not comparable(x, y, LEAST_SAMPLES):
        return math.nan

    def fit(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        samples = samples.astype(np.float64)
        mean = samples.mean(0)
        return mean, np.asarray(np.linalg.qr((samples - mean) / math.sqrt(len(samples) - 1), mode="r"))

    (mean_x, root_x), (mean_y, root_y) = fit(x), fit(y)
    nuclear_norm = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    return max(0.0, float(((mean_x - mean_y) ** 2).sum() + (root_x**2).sum() + (root_y**2).sum() - 2 * nuclear_norm))


def kernel_distance(x: Features, y: Float[np.ndarray, "m d"], num_subsets: int = 100, subset_size: int = 1000) -> float:
    """Estimate the squared MMD without bias, with the kernel (u . v / d + 1)^3 (Binkowski et al. 2018, section 4); NaN where
    not finite, or of one sample.

    By torch-fidelity: the mean over random subsets. Without the bias of the Frechet distance: about 0 for equal measures, of
    either sign. The features go in as double precision, since the kernels nearly cancel.
    """
    import torch
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric  # imports torchvision

    if not comparable(x, y, LEAST_SAMPLES):
        return math.nan
    first, second = (torch.from_numpy(features.astype(np.float64)) for features in (x, y))
    size = min(subset_size, len(x), len(y))
    metric = kid_features_to_metric(first, second, kid_subsets=num_subsets, kid_subset_size=size, verbose=False)
    return float(metric[KEY_METRIC_KID_MEAN])


def feature_distances(x: Features, y: Float[np.ndarray, "m d"]) -> dict[str, float]:
    """Measure all distances between the features x of samples and the features y of data."""
    return {"frechet": frechet_distance(x, y), "kid": kernel_distance(x, y), **precision_recall(x, y, k=NUM_NEIGHBOURS)}


def detail(images: Float[np.ndarray, "n c h w"]) -> float:
    """Measure how far neighbouring pixels are apart, as a mean: less where images are blurred, more where there is noise.

    Example:
        >>> detail(np.array([[[[0.0, 1.0], [1.0, 0.0]]]]))
        1.0
    """
    return float(np.mean([np.abs(np.diff(images, axis=axis)).mean() for axis in (2, 3)]))


def inception_score(logits: Float[np.ndarray, "n c"], num_splits: int = 10) -> float:
    """Compute exp E KL(p(class | image) | p(class)) (Salimans et al. 2016, section 4), the mean over splits, by
    torch-fidelity.
    """
    import torch
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    metric = isc_features_to_metric(torch.from_numpy(logits), splits=min(num_splits, len(logits)))
    return float(metric[KEY_METRIC_ISC_MEAN])


def class_balance(classes: Int[np.ndarray, " n"], of_data: Int[np.ndarray, " m"], num_classes: int) -> dict[str, float]:
    """Measure how samples spread over the classes of the data.

    Args:
        classes: predicted for each sample.
        of_data: predicted for each datum, by the same classifier, so that what it confuses is on both sides.

    Returns:
        `class_kl`: KL(samples | data) of the class histograms, in nats; infinite where samples have a class that the data lack.
        `classes_covered`: classes that hold at least a tenth of their share of the data.
    """
    share = np.bincount(of_data, minlength=num_classes) / len(of_data)
    present = np.flatnonzero(share)
    number: np.ndarray = np.full(num_classes, -1)
    number[present] = np.arange(len(present))
    of_present: Sequence[float] = share[present].tolist()
    statistics = mode_statistics(number[classes], tuple(of_present))
    strangers = bool((number[classes] < 0).any())
    return {"class_kl": math.inf if strangers else statistics["mode_kl"], "classes_covered": statistics["modes_covered"]}
