"""The 1,797 real 8 x 8 scans that scikit-learn carries, grey levels 0-16 stretched to 0-255; the last 500 are held out."""

import numpy as np

from pipeline.data.images.image_set import BuiltIn, ImageSet, LabelPair, Pair

NUM_TEST = 500


def read_images() -> Pair:
    """Read scikit-learn's 8 x 8 digits, those for training and those held out."""
    from sklearn.datasets import load_digits

    images = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    return images[:-NUM_TEST], images[-NUM_TEST:]


def read_labels() -> LabelPair:
    """Read the digits that the images show, in the same order."""
    from sklearn.datasets import load_digits

    target = load_digits().target.astype(np.int64)
    return target[:-NUM_TEST], target[-NUM_TEST:]


DIGITS = ImageSet(
    channels=1,
    side=8,
    built_in=BuiltIn(read_images, read_labels, "b41ca9fd335466eee997366c2e6f6bbe0a1b4582afe091fc4eba35f4a254182f"),
    classes=tuple("0123456789"),
)
