"""Prepared images exist only when their manifest verifies; decoded ones only when their own sum does."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest

from pipeline.data.images import decoded
from pipeline.data.images.prepared import open_images
from pipeline.data.images.streaming import Streamed
from pipeline.errors import Corrupt, Unusable


def a_copy(of: Path, to: Path) -> Path:
    to.mkdir(parents=True)
    for path in of.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


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
        sets.batches(Streamed(found), range(20))


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
