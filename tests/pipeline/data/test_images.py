"""Reading prepared images: one global batch whatever reads it and wherever training goes on, and nothing but the images meant."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
from flows import STILL, assert_same_gradients, tiny, train, weights
from homes import new_store
from torchvision.datasets import FashionMNIST

from benchmarks import readers as readers_benchmark
from components.streams import stream
from pipeline.cluster import Cluster
from pipeline.command import cli
from pipeline.data.endpoints import load_endpoints, load_source
from pipeline.data.images import decoded
from pipeline.data.images.images import Mapped
from pipeline.data.images.prepared import PreparedSet, open_images
from pipeline.data.images.shuffle import SHARDS_PER_WINDOW, Shuffle
from pipeline.data.images.streaming import Streamed
from pipeline.data.resolution import resolve
from pipeline.data.sets import fashion_mnist
from pipeline.data.source import At
from pipeline.errors import Corrupt, FlowError, Unusable
from pipeline.phase import phases_of
from pipeline.recipe import Data, Jko, Network, Recipe, Training
from pipeline.recipes.rules import validate
from pipeline.store.phases import Store


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def data_uri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prepared sets, many shards each."""
    folder = tmp_path_factory.mktemp("sets")
    sets.prepared("mnist", sets.mnist(folder / "from"), folder, per_shard=8)
    sets.prepared("emnist_letters", sets.emnist(folder / "letters", 60, 30), folder, per_shard=8)
    sets.prepared("image_folder", sets.photos(folder / "photos", 60), folder, 16, per_shard=8)
    return folder


def a_copy(of: Path, to: Path) -> Path:
    to.mkdir(parents=True)
    for path in of.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


# -- a set exists only when its manifest verifies ---------------------------------------------------------------------------


def test_a_set_of_another_digest_is_refused(data_uri: Path) -> None:
    found = sets.open_set("mnist", data_uri, 28)
    assert open_images(found.uri, found.digest) == found
    with pytest.raises(Unusable, match=f"holds images with digest {found.digest}, not 0000"):
        open_images(found.uri, "0" * 64)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("manifest.json", "cut", "manifest.json is corrupt: it is not JSON"),
        ("manifest.json", "edit", "manifest.json is corrupt: its sha256 is not the one that it carries"),
        ("train-00003.parquet", "remove", "train-00003.parquet is corrupt: it is missing"),
        ("test-00001.parquet", "cut", "test-00001.parquet is corrupt: it has"),
    ],
)
def test_a_damaged_set_is_not_opened(file: str, damage: str, message: str, data_uri: Path, tmp_path: Path) -> None:
    folder = a_copy(data_uri / "mnist-28", tmp_path / "copy")
    content = (folder / file).read_bytes()
    damaged = {"cut": content[:-30], "edit": content.replace(b'"rows": 100', b'"rows": 101')}
    (folder / file).unlink() if damage == "remove" else (folder / file).write_bytes(damaged[damage])
    with pytest.raises(Corrupt, match=message):
        open_images(str(folder))


@pytest.mark.thorough
def test_a_flipped_byte_is_found_by_both_readers_and_names_the_shard(data_uri: Path, tmp_path: Path, one_ray: None) -> None:
    folder = a_copy(data_uri / "mnist-28", tmp_path / "copy")
    sets.flip_a_byte(folder / "train-00005.parquet")
    found = open_images(str(folder))
    with pytest.raises(Corrupt, match=r"copy/train-00005\.parquet is corrupt: its sha256 is not the manifest's"):
        found.mapped("train")
    assert not list((tmp_path / "home" / "cache").glob("*.npy"))
    with pytest.raises(Corrupt, match=r"copy/train-00005\.parquet is corrupt: its sha256 is not the manifest's"):
        batches(Streamed(found), range(20))


def test_the_cache_is_written_once_whoever_asks_first(data_uri: Path, tmp_path: Path) -> None:
    found = sets.open_set("mnist", data_uri, 28)
    arrays: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: arrays.append(found.mapped("train"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(arrays) == 4
    assert all(np.array_equal(array, sets.pixels(100)) for array in arrays)
    assert [path.name for path in (tmp_path / "home" / "cache").glob("*.npy*") if path.suffix != ".lock"] == [
        f"{found.digest}-train.npy"
    ]
    assert isinstance(arrays[0], np.memmap)


def zero_the_tail(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(len(content) - 200))


CACHE_DAMAGES: dict[str, Callable[[Path], object]] = {
    "a tail of zeros": zero_the_tail,
    "one other byte": sets.flip_a_byte,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + bytes(8)),
    "another header": lambda path: path.write_bytes(path.read_bytes().replace(b"100, 1, 28, 28", b"100, 1, 14, 56")),
    "as earlier versions wrote it": lambda path: np.save(path, sets.pixels(100, seed=5)),
}


@pytest.mark.parametrize("same_process", [False, True])
@pytest.mark.parametrize("damage", CACHE_DAMAGES)
def test_a_damaged_cache_is_made_again_and_a_line_says_so(
    damage: str,
    *,
    same_process: bool,
    data_uri: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = sets.open_set("mnist", data_uri, 28)
    path = tmp_path / "home" / "cache" / f"{found.digest}-train.npy"
    assert np.array_equal(found.mapped("train"), sets.pixels(100))
    assert np.array_equal(np.load(path), sets.pixels(100)), "an array of numpy, for whoever looks at it"
    if not same_process:
        monkeypatch.setattr(decoded, "_known", {})
    CACHE_DAMAGES[damage](path)
    assert np.array_equal(found.mapped("train"), sets.pixels(100))
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} is damaged, or of another version: it is made again from the prepared images"
    ]
    assert np.array_equal(found.mapped("train"), sets.pixels(100))
    assert len(caplog.records) == 1
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_a_folder_in_the_place_of_a_cache_is_named_and_left_alone(data_uri: Path, tmp_path: Path) -> None:
    found = sets.open_set("mnist", data_uri, 28)
    path = tmp_path / "home" / "cache" / f"{found.digest}-test.npy"
    found.mapped("test")
    path.unlink()
    (path / "inside").mkdir(parents=True)
    with pytest.raises(Unusable, match=f"{path} is in the place of decoded images, and is no file: remove it"):
        found.mapped("test")
    assert (path / "inside").is_dir()


def test_a_cache_whose_writing_fails_or_is_killed_is_not_there(data_uri: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "array.npy"

    def until_the_disk_is_full() -> Iterator[np.ndarray]:
        yield sets.pixels(40)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device for 78,400 bytes of decoded images: '.*array\.npy'"):
        decoded.decoded(path, (100, 1, 28, 28), until_the_disk_is_full)
    assert [file.name for file in path.parent.iterdir()] == ["array.npy.lock"]
    path.with_name("array.npy.partial").write_bytes(b"what a killed process leaves")
    images = decoded.decoded(path, (100, 1, 28, 28), lambda: [sets.pixels(100)])
    assert np.array_equal(images, sets.pixels(100))
    assert sorted(file.name for file in path.parent.iterdir()) == ["array.npy", "array.npy.lock"]


# -- batches ----------------------------------------------------------------------------------------------------------------


def readers(found: PreparedSet) -> dict[str, Mapped | Streamed]:
    return {"mapped": Mapped(found.mapped("train"), found.mapped("test")), "streamed": Streamed(found)}


def batches(
    reader: Mapped | Streamed, steps: range, *, n: int = 24, rank: int = 0, workers: int = 1, phase: int = 0
) -> np.ndarray:
    rows = slice(rank * n // workers, (rank + 1) * n // workers)
    return np.stack([reader.batch(At("target", 3, phase, step, n, rows)) for step in steps])


@pytest.mark.parametrize("kind", ["mapped", "streamed"])
@pytest.mark.thorough
def test_any_number_of_workers_sees_the_same_global_batches_and_so_does_a_resumed_phase(
    kind: str, data_uri: Path, one_ray: None
) -> None:
    found = sets.open_set("image_folder", data_uri, 16)
    whole = batches(readers(found)[kind], range(12))
    assert len(np.unique(whole.reshape(-1, 3 * 16 * 16), axis=0)) > 40
    for workers in (2, 3):
        shares = [batches(readers(found)[kind], range(12), rank=rank, workers=workers) for rank in range(workers)]
        np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole)
    reader = readers(found)[kind]
    for start in (7, 2, 11):
        np.testing.assert_array_equal(batches(reader, range(start, 12)), whole[start:])
    np.testing.assert_array_equal(batches(reader, range(7, 12), rank=1, workers=3), whole[7:, 8:16])
    assert not np.array_equal(batches(reader, range(2), phase=1), whole[:2])


def test_the_mapped_reader_draws_as_the_built_in_sets_do(data_uri: Path) -> None:
    found = sets.open_set("mnist", data_uri, 28)
    indices = stream(3, "target", phase=0, step=5).integers(100, size=24)
    np.testing.assert_array_equal(batches(readers(found)["mapped"], range(5, 6))[0], sets.pixels(100)[indices])


@pytest.mark.thorough
def test_a_stream_passes_every_row_once_per_epoch_in_another_order_each_time(data_uri: Path, one_ray: None) -> None:
    """100 rows in 13 shards, the last one of 4; batches of 20."""
    found = sets.open_set("mnist", data_uri, 28)
    images = batches(Streamed(found), range(15), n=20).reshape(3, 100, -1)
    original = sets.pixels(100).reshape(100, -1)
    numbers = {image.tobytes(): i for i, image in enumerate(original)}
    epochs = [[numbers[image.tobytes()] for image in epoch] for epoch in images]
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    for epoch, order in enumerate(epochs):  # as the rule says, written down once more
        shards = stream(3, "shards", phase=0, step=epoch).permutation(13)
        expected: list[int] = []
        for window, begin in enumerate(range(0, 13, SHARDS_PER_WINDOW)):
            rows = [
                row for shard in shards[begin : begin + SHARDS_PER_WINDOW] for row in range(8 * shard, min(8 * shard + 8, 100))
            ]
            shuffled = stream(3, "rows", phase=0, step=4 * epoch + window).permutation(len(rows))
            expected += [rows[i] for i in shuffled]
        assert order == expected


def test_positions_are_found_by_arithmetic_far_into_a_phase() -> None:
    order = Shuffle("target", 0, 0, tuple([500] * 40 + [123]))
    epoch = sum(order.shard_rows)
    far = 10**6 * epoch + 700
    windows = order.windows(far, far + 64)
    assert windows[0].first <= far < windows[0].first + windows[0].num_rows
    assert [w.first - 10**6 * epoch for w in windows] == [w.first - 10**6 * epoch for w in order.epoch(10**6)[: len(windows)]]
    covered = order.windows(0, 3 * epoch)
    assert [w.first + w.num_rows for w in covered[:-1]] == [w.first for w in covered[1:]]


@pytest.mark.parametrize("kind", ["mapped", "streamed"])
def test_samples_and_held_out_images_are_of_their_splits(kind: str, data_uri: Path) -> None:
    reader = readers(sets.open_set("mnist", data_uri, 28))[kind]
    train, test = ({image.tobytes() for image in sets.pixels(n, seed=seed)} for n, seed in ((100, 0), (30, 1)))
    sampled = reader.sample(10, np.random.default_rng(0))
    assert {image.tobytes() for image in sampled} <= train
    held_out = reader.held_out(30, np.random.default_rng(0))
    assert {image.tobytes() for image in held_out} == test
    np.testing.assert_array_equal(sampled, reader.sample(10, np.random.default_rng(0)))
    assert reader.num_distinct == 30


@pytest.mark.parametrize("kind", ["mapped", "streamed"])
@pytest.mark.thorough
def test_both_readers_are_measured(kind: str, one_ray: None) -> None:
    (row,) = readers_benchmark.measure({"images": "1 x 28 x 28 raw", "reader": kind, "num_images": 512, "seed": 0})
    assert row["images_per_second"] > 500, "a thousandth of what it is"


# -- the ends of a flow -----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_prepared_fashion_mnist_gives_the_flow_of_the_built_in_one(tmp_path: Path) -> None:
    """The real 70,000 images, from Debian's package."""
    sets.prepared("fashion_mnist", fashion_mnist.DEBIAN_FOLDER, tmp_path / "sets", per_shard=None)
    data = Data(target="fashion_mnist")
    built_in, prepared = load_endpoints(data), load_endpoints(data, str(tmp_path / "sets"))
    assert prepared.data_uri is not None
    assert built_in.scale == prepared.scale
    np.testing.assert_array_equal(built_in.shift, prepared.shift)
    at = At("target", 1, 2, 3, 64, slice(20, 40))
    np.testing.assert_array_equal(built_in.target.batch(at), prepared.target.batch(at))
    np.testing.assert_array_equal(
        built_in.target.batch(at), built_in.target.sample(64, stream(1, "target", phase=2, step=3))[20:40]
    )
    cluster = Cluster(data=str(tmp_path / "sets"), max_cached_gb=0.0)
    assert resolve(Recipe(data), cluster) == Recipe(data), "one flow, one fingerprint"
    (tmp_path / "sets" / "fashion_mnist-28").rename(tmp_path / "elsewhere")
    assert load_endpoints(data, str(tmp_path / "sets")).scale == built_in.scale, "what is built in needs no preparation"


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
    np.testing.assert_allclose(ends.shift, everything.mean(0), atol=1e-6)
    assert ends.scale == pytest.approx(np.sqrt(everything.var(0).mean()), rel=1e-9)
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
    np.testing.assert_allclose(ends.shift, both.mean(0), atol=1e-6)
    assert ends.scale == pytest.approx(np.sqrt(both.var(0).mean()), rel=1e-6)


def test_images_flow_to_images_of_their_shape(data_uri: Path) -> None:
    data = Data(source="emnist_letters", target="mnist")
    ends = load_endpoints(data, str(data_uri))
    at = At("target", 0, 0, 4, 16, slice(0, 16))
    letters = {image.tobytes() for image in sets.pixels(60, seed=50).transpose(0, 1, 3, 2)}
    units = ends.to_units(ends.source.batch(replace(at, end="source")))
    found = [np.round((image + 1) * 127.5).astype(np.uint8).tobytes() for image in units]
    assert set(found) <= letters
    own = load_source(data, ends.shape, ends.shift, ends.scale, str(data_uri))
    np.testing.assert_array_equal(own.source.sample(9, stream(0, "source")), ends.source.sample(9, stream(0, "source")))
    with pytest.raises(FlowError, match="was not loaded"):
        own.target.sample(1, stream(0, "target"))
    with pytest.raises(Unusable, match=r"data\.source: .*/home/data/emnist_letters-28 holds no prepared images"):
        load_source(data, ends.shape, ends.shift, ends.scale)
    noise = load_source(Data(target="mnist"), ends.shape, ends.shift, ends.scale)
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


# -- identity ---------------------------------------------------------------------------------------------------------------


def fingerprint(data: Data) -> str:
    return phases_of(Recipe(data))[0].fingerprint


def test_the_fields_of_prepared_images_changed_no_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """As computed by commit 9d94204, before recipes knew of them."""
    monkeypatch.setattr("pipeline.phase.METHOD_VERSION", 1)
    of_images = Recipe(
        data=Data(target="fashion_mnist"),
        network=Network(width=512, num_frequencies=0),
        jko=Jko(num_phases=4, cost="mean_squared"),
        training=Training(num_steps=600, batch_size=128, map_lr=5e-4, potential_lr=5e-4, lr_decay_steps=2000, r1=2.0, r2=2.0),
    )
    assert phases_of(of_images)[0].fingerprint == "c7a1f86e6ed233386618"
    assert phases_of(of_images)[-1].fingerprint == "74d1c36b58825f28706b"
    assert phases_of(replace(of_images, data=Data(target="fashion_mnist", size=28)))[0].fingerprint == "c7a1f86e6ed233386618"
    assert phases_of(Recipe(Data(target="digits")))[-1].fingerprint == "5d876051bd9e9fe26370"
    assert phases_of(Recipe())[-1].fingerprint == "77fc2e7416541618dfd7"
    assert phases_of(Recipe(Data(source="moons", target="gaussian", dim=2)))[-1].fingerprint == "57893c1c579d79492566"


def test_the_size_that_a_set_comes_with_has_no_influence_and_every_other_new_field_has() -> None:
    plain = fingerprint(Data(target="mnist"))
    assert fingerprint(Data(target="mnist", size=28)) == plain
    others = [{"size": 32}, {"flip": True}, {"digest": "a" * 64}, {"source_digest": "a" * 64}, {"streamed": True}]
    assert len({plain, *(fingerprint(replace(Data(target="mnist"), **other)) for other in others)}) == 6
    (phase, *_) = phases_of(Recipe(Data(target="mnist", size=32, flip=True, digest="a" * 64)))
    assert phase.data == Data(target="mnist", size=32, flip=True, digest="a" * 64)


def test_digests_and_the_way_of_reading_are_resolved_before_phases_are_made(data_uri: Path) -> None:
    letters, digits = (sets.open_set(name, data_uri, 28).digest for name in ("emnist_letters", "mnist"))
    recipe = Recipe(Data(source="emnist_letters", target="mnist"))
    found = resolve(recipe, Cluster(data=str(data_uri))).data
    assert (found.digest, found.source_digest, found.streamed) == (digits, letters, False)
    assert resolve(Recipe(found), Cluster(data=str(data_uri))).data == found
    too_large = resolve(recipe, Cluster(data=str(data_uri), max_cached_gb=1e-6)).data
    assert too_large.streamed
    assert fingerprint(too_large) != fingerprint(found), "other batches are another phase"
    with pytest.raises(Unusable, match=f"digest {digits}, not {'b' * 64}.*prepare mnist"):
        resolve(Recipe(Data(target="mnist", digest="b" * 64)), Cluster(data=str(data_uri)))
    assert resolve(Recipe(Data(target="moons")), Cluster()) == Recipe(Data(target="moons"))


MISTAKES = {
    "--data.target image_folder": ("data.size", "given for data.target image_folder"),
    "--data.target mnist --data.size 4": ("data.size", "from 8 to 1024", "4"),
    "--data.target cifar10 --data.source mnist": (
        "data.source",
        "normal or cifar10 or celeba_hq or image_folder for",
        "mnist",
    ),
    "--data.target mnist --data.source moons": (
        "data.source",
        "normal or digits or fashion_mnist or mnist or emnist_letters",
        "moons",
    ),
    "--data.target moons --data.source mnist": ("data.source", "normal or gaussian or gauss8", "mnist"),
    "--data.target digits --data.source mnist": ("data.size", "given where mnist has side 28 and digits 8"),
    "--data.target moons --data.flip": ("data.flip", "left out for data.target moons", "true"),
    "--data.target mnist --data.digest abc": ("data.digest", "64 hexadecimal digits", "abc"),
    f"--data.target mnist --data.source-digest {'a' * 64}": ("data.source_digest", "left out for data.source normal"),
    "--data.target fashion_mnist --data.streamed": ("data.streamed", "false for data.target fashion_mnist"),
    "--store.data foo://x": ("store.data", "fsspec", "foo://x"),
    "--cluster.max-cached-gb -1": ("cluster.max_cached_gb", "at least 0", "-1.0"),
}


@pytest.mark.parametrize("flags", MISTAKES)
def test_a_mistake_is_one_line_with_the_field_the_rule_and_the_value(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "fashion_mnist", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in MISTAKES[flags]:
        assert part in error


@pytest.mark.parametrize(
    "data",
    [
        Data(target="cifar10"),
        Data(target="celeba_hq", size=64, flip=True, streamed=True),
        Data(target="fashion_mnist", size=32),
        *(Data(source=s, target=t) for s, t in product(("mnist", "emnist_letters"), ("mnist", "fashion_mnist"))),
    ],
    ids=str,
)
def test_these_are_recipes(data: Data) -> None:
    validate(Recipe(data))


# -- whole flows ------------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_streamed_flow_is_the_same_in_this_process_and_on_two_ray_train_workers(
    data_uri: Path, store: Store, tmp_path: Path, one_ray: None
) -> None:
    """Both workers hold a CPU each, all that there are, while Ray Data reads for them."""
    recipe = tiny(num_phases=1, num_steps=20, batch_size=16, width=8, num_frequencies=0, **STILL)
    recipe = replace(recipe, data=Data(target="mnist"))
    cluster = Cluster(data=str(data_uri), max_cached_gb=0.0, checkpoint_every=0)
    (local,) = train(recipe, store, cluster)
    assert local.phase.data.streamed
    assert local.phase.data.digest == sets.open_set("mnist", data_uri, 28).digest
    other = new_store(tmp_path / "other")
    (there,) = train(recipe, other, replace(cluster, num_workers=2, tracking_uri=other.uri))
    assert there.phase == local.phase
    assert_same_gradients(weights(store, local.ref), weights(other, there.ref))


@pytest.mark.thorough
@pytest.mark.usefixtures("s3_here")
def test_images_are_prepared_to_s3_and_read_from_there(tmp_path: Path, new_bucket: Callable[[], str]) -> None:
    bucket = new_bucket()
    source = sets.mnist(tmp_path / "from")
    done = sets.prepared("mnist", source, f"s3://{bucket}/sets")
    assert sets.prepared("mnist", source, f"s3://{bucket}/sets").num_new == 0
    found = sets.open_set("mnist", f"s3://{bucket}/sets", 28)
    assert found.digest == done.manifest["digest"]
    np.testing.assert_array_equal(found.mapped("train"), sets.pixels(100))
    ends = load_endpoints(Data(target="mnist", digest=found.digest), f"s3://{bucket}/sets")
    assert ends.target.batch(At("target", 0, 0, 0, 8, slice(0, 8))).shape == (8, 1, 28, 28)
    reader = Streamed(found)
    assert {image.tobytes() for image in reader.held_out(30, np.random.default_rng(0))} == {
        image.tobytes() for image in sets.pixels(30, seed=1)
    }
    with pytest.raises(Unusable, match=rf"s3://{bucket}/other/mnist-28 holds no prepared images.*--to s3://{bucket}/other"):
        load_endpoints(Data(target="mnist"), f"s3://{bucket}/other")
    with pytest.raises(Unusable, match="--to cannot be written: s3://no-such-bucket"):
        sets.prepared("mnist", source, "s3://no-such-bucket/sets")
