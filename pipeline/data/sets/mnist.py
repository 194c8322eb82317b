"""MNIST (LeCun et al. 1998) and the letters of EMNIST (Cohen et al. 2017), whose files hold each image transposed."""

from string import ascii_lowercase, digits

from pipeline.data.images.image_set import ImageSet
from pipeline.data.preparing.idx import mnist_files

MNIST = ImageSet(channels=1, side=28, originals=mnist_files("", "t10k"), classes=tuple(digits))
EMNIST_LETTERS = ImageSet(
    channels=1,
    side=28,
    originals=mnist_files("emnist-letters-", "test", transposed=True),
    classes=tuple(ascii_lowercase),
    first_label=1,
)
