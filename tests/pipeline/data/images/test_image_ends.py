"""Prepared images as the ends of a flow: nothing but the images that are meant, in the units that they should have."""

import hashlib
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
from torchvision.datasets import FashionMNIST

from components.streams import stream
from pipeline.cluster import Cluster
from pipeline.command import cli
from pipeline.data.endpoints import load_endpoints, load_source
from pipeline.data.resolution import resolve
from pipeline.data.sets import fashion_mnist
from pipeline.data.source import At
from pipeline.errors import FlowError, Unusable
from pipeline.recipe import Data, Recipe


@pytest.mark.thorough
def test_prepared_fashion_mnist_gives_the_flow_of_the_built_in_one(tmp_path: Path) -> None:
    """The real 70,000 images, from Debian's package."""
    sets.prepared("fashion_mnist", fashion_mnist.DEBIAN_FOLDER, tmp_path / "sets", per_shard=None)
    data = Data(target="fashion_mnist")
    built_in, prepared = load_endpoints(data), load_endpoints(data, str(tmp_path / "sets"))
    assert prepared.data_uri is not None
    assert built_in.space.scale == prepared.space.scale
    np.testing.assert_array_equal(built_in.space.shift, prepared.space.shift)
    at = At("target", 1, 2, 3, 64, slice(20, 40))
    np.testing.assert_array_equal(built_in.target.batch(at), prepared.target.batch(at))
    np.testing.assert_array_equal(
        built_in.target.batch(at), built_in.target.sample(64, stream(1, "target", phase=2, step=3))[20:40]
    )
    cluster = Cluster(data=str(tmp_path / "sets"), max_cached_gb=0.0)
    assert resolve(Recipe(data), cluster) == Recipe(data), "one flow, one fingerprint"
    (tmp_path / "sets" / "fashion_mnist-28").rename(tmp_path / "elsewhere")
    assert load_endpoints(data, str(tmp_path / "sets")).space.scale == built_in.space.scale, (
        "what is built in needs no preparation"
    )


@pytest.mark.slow
def test_a_damaged_download_is_downloaded_again_and_half_a_one_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """torchvision's own code, with Debian's files as its mirror."""
    files = sorted(fashion_mnist.DEBIAN_FOLDER.glob("*.gz"))
    resources = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in files]
    images = fashion_mnist.read_images()
    handler = partial(SimpleHTTPRequestHandler, directory=fashion_mnist.DEBIAN_FOLDER)
    mirror = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=mirror.serve_forever, daemon=True).start()
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{mirror.server_port}/"])
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "not installed")
    raw = tmp_path / "home" / "data" / "FashionMNIST" / "raw"
    for damage in (
        lambda: None,
        lambda: sets.flip_a_byte(raw / "train-images-idx3-ubyte"),
        (raw / "t10k-images-idx3-ubyte").unlink,
    ):
        damage()
        for found, expected in zip(fashion_mnist.read_images(), images, strict=True):
            assert np.array_equal(found, expected)
    assert [record.getMessage() for record in caplog.records] == [f"{raw.parent} is damaged: it is downloaded again"]
    (raw / "train-images-idx3-ubyte").write_bytes(b"")
    mirror.shutdown()
    mirror.server_close()
    with pytest.raises(FlowError, match="fashion_mnist is not on this machine and could not be downloaded"):
        fashion_mnist.read_images()
    assert not raw.exists()


def test_other_images_under_the_name_of_fashion_mnist_are_refused(tmp_path: Path) -> None:
    sets.prepared("fashion_mnist", sets.mnist(tmp_path / "from"), tmp_path / "sets")
    with pytest.raises(FlowError, match=r"data\.target: fashion_mnist at .*fashion_mnist-28 has sha256"):
        load_endpoints(Data(target="fashion_mnist"), str(tmp_path / "sets"))


def test_prepared_images_are_standardised_by_their_moments(data_uri: Path) -> None:
    ends = load_endpoints(Data(target="mnist"), str(data_uri))
    assert ends.shape == (1, 28, 28)
    everything = sets.pixels(100).astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(ends.space.shift, everything.mean(0), atol=1e-6)
    assert ends.space.scale == pytest.approx(np.sqrt(everything.var(0).mean()), rel=1e-9)
    at = At("target", 0, 0, 0, 16, slice(0, 16))
    units = ends.to_units(ends.target.batch(at))
    originals = {tuple(np.round((image.ravel() + 1) * 127.5).astype(int)) for image in units}
    assert originals <= {tuple(image.ravel().tolist()) for image in sets.pixels(100)}
    plain = load_endpoints(Data(target="mnist", standardise=False), str(data_uri))
    np.testing.assert_allclose(plain.target.batch(at), units, atol=1e-5)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.thorough
def test_half_of_the_training_images_are_mirrored_and_the_mean_with_them(streamed: bool, data_uri: Path, one_ray: None) -> None:
    plain = load_endpoints(Data(target="mnist", standardise=False, streamed=streamed), str(data_uri))
    flipped = load_endpoints(Data(target="mnist", standardise=False, streamed=streamed, flip=True), str(data_uri))
    np.testing.assert_array_equal(plain.data.held_out(30, stream(0, "target")), flipped.data.held_out(30, stream(0, "target")))
    at = [At("target", 0, 1, step, 32, slice(0, 32)) for step in range(6)]
    before = np.concatenate([plain.target.batch(each) for each in at])
    del plain  # and with it its run of Ray Data
    after = np.concatenate([flipped.target.batch(each) for each in at])
    np.testing.assert_array_equal(flipped.target.batch(replace(at[3], rows=slice(11, 20))), after[3 * 32 + 11 : 3 * 32 + 20])
    mirrored = [not np.array_equal(x, y) for x, y in zip(before, after, strict=True)]
    assert all(np.array_equal(x[..., ::-1] if m else x, y) for x, y, m in zip(before, after, mirrored, strict=True))
    assert 60 < sum(mirrored) < 132
    ends = load_endpoints(Data(target="mnist", flip=True, streamed=streamed), str(data_uri))
    both = np.concatenate([sets.pixels(100), sets.pixels(100)[..., ::-1]]).astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(ends.space.shift, both.mean(0), atol=1e-6)
    assert ends.space.scale == pytest.approx(np.sqrt(both.var(0).mean()), rel=1e-6)


def test_images_flow_to_images_of_their_shape(data_uri: Path) -> None:
    data = Data(source="emnist_letters", target="mnist")
    ends = load_endpoints(data, str(data_uri))
    at = At("target", 0, 0, 4, 16, slice(0, 16))
    letters = {image.tobytes() for image in sets.pixels(60, seed=50).transpose(0, 1, 3, 2)}
    units = ends.to_units(ends.source.batch(replace(at, end="source")))
    found = [np.round((image + 1) * 127.5).astype(np.uint8).tobytes() for image in units]
    assert set(found) <= letters
    own = load_source(data, ends.shape, ends.space, str(data_uri))
    np.testing.assert_array_equal(own.source.sample(9, stream(0, "source")), ends.source.sample(9, stream(0, "source")))
    with pytest.raises(FlowError, match="was not loaded"):
        own.target.sample(1, stream(0, "target"))
    with pytest.raises(Unusable, match=r"data\.source: .*/home/data/emnist_letters-28 holds no prepared images"):
        load_source(data, ends.shape, ends.space)
    noise = load_source(Data(target="mnist"), ends.shape, ends.space)
    assert noise.source.sample(3, stream(0, "source")).shape == (3, 1, 28, 28)


def test_a_set_that_was_not_prepared_is_one_line_with_the_place_and_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data.target", "celeba_hq", "--data.size", "64", "--store.data", str(tmp_path / "sets")]
    assert cli.main(["run", "fashion_mnist", *flags]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'sets'}/celeba_hq-64 holds no prepared images" in error
    assert f"python -m pipeline prepare celeba_hq --from PATH --to {tmp_path / 'sets'} --size 64" in error
    assert error.count("\n") == 1
    with pytest.raises(Unusable, match=rf"{tmp_path}/home/data/mnist-28 .* prepare mnist --from PATH$"):
        load_endpoints(Data(target="mnist"))
