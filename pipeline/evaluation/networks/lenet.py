"""The small classifiers that image metrics look through: network and shipped weights. `train_lenet` made them."""

from pathlib import Path

from jaxtyping import Float, UInt8
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from pipeline.files import verified

ASSETS = Path(__file__).parent / "assets"
NUM_CLASSES, DROPOUT = 10, 0.3
SHA256 = {
    "fashion_mnist": "7672e380fe563933ccc228631bcd724a78547480cfdc7527746baa9227f8a034",
    "digits": "5691648412a60d62c65140303c943cb2f83e7a5a84c59e4ff1d996869b355c5c",
}


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al. 1998, section II.B) with rectifiers, maximum pooling and twice its maps, on 8-bit images.

    >>> import torch
    >>> features, logits = LeNet()(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
    >>> features.shape, logits.shape
    (torch.Size([2, 84]), torch.Size([2, 10]))
    """

    side = 28

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 5 * 5, 120),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(120, 84),
            nn.ReLU(),
        )
        self.head = nn.Linear(84, NUM_CLASSES)

    def forward(self, images: UInt8[Tensor, "n 1 s s"]) -> tuple[Float[Tensor, "n 84"], Float[Tensor, "n 10"]]:
        """Compute the features before the last layer, and the logits of the classes."""
        inputs = images.float() / 127.5 - 1
        if inputs.shape[-1] != self.side:
            inputs = functional.interpolate(inputs, size=(self.side, self.side), mode="bilinear", antialias=True)
        features = self.body(inputs)
        return features, self.head(features)


def read(dataset: str) -> tuple[LeNet, str]:
    """Load the LeNet that was trained on a data set, and the hash of its weights.

    Raises:
        Corrupt: the shipped file is not the one that figures were made with.
    """
    network = LeNet()
    network.load_state_dict(load(verified(ASSETS / f"lenet_{dataset}.safetensors", SHA256[dataset])))
    return network.eval().requires_grad_(False), SHA256[dataset]
