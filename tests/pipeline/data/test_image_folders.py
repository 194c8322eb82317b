"""Folders of images as users have them: what is training, what is held out, what is a class, and that nothing vanishes."""

import json
import os
import shutil
import struct
import threading
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
from filelock import FileLock
from PIL import Image

from pipeline.command import cli
from pipeline.data.images.prepared import SPLITS
from pipeline.data.preparing.image_folders import read_folder
from pipeline.data.preparing.originals import Layout, Originals
from pipeline.errors import Unusable


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))


def fill(root: Path, folders: str) -> Path:
    """Two pictures, all different, in each of the folders."""
    for folder in folders.split():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(2):
            name = f"{folder} {i}"
            pixels = sets.pixels(1, 3, 16, seed=zlib.crc32(name.encode()))[0]
            Image.fromarray(pixels.transpose(1, 2, 0)).save(root / folder / f"{i}.png")
    return root


def read(root: Path, **layout: str) -> Originals:
    originals: Originals = read_folder(root, Layout(**layout), lambda done, total: None)
    return originals


def folders_of(originals: Originals, split: str) -> set[str]:
    return {original.name.rpartition("/")[0] for original in originals.splits[split]}


SPLIT = {
    "train/a train/b test/a test/b": "train test",
    "Train/a Train/b Test/a Test/b": "Train Test",
    "TRAINING/a TRAINING/b testing/a testing/b": "TRAINING testing",
    "training/a training/b Val/a Val/b": "training Val",
    "train/a train/b valid/a valid/b": "train valid",
    "train/a train/b validation/a validation/b": "train validation",
    "train/a train/b dev/a dev/b": "train dev",
    "train_set/a train_set/b test_set/a test_set/b": "train_set test_set",
    "train2017/a train2017/b val2017/a val2017/b": "train2017 val2017",
    "dataset/Train/a dataset/Train/b dataset/Test/a dataset/Test/b": "dataset/Train dataset/Test",
    "root/dataset/Train/a root/dataset/Train/b root/dataset/test/a": "root/dataset/Train root/dataset/test",
    "train/a train/b val/a val/b test/a test/b": "train test",
}


@pytest.mark.parametrize("folders", SPLIT)
def test_split_folders_are_known_in_any_case_by_their_usual_names_where_they_stand(folders: str, tmp_path: Path) -> None:
    originals = read(fill(tmp_path, folders))
    train, test = SPLIT[folders].split()
    assert folders_of(originals, "train") == {f"{train}/a", f"{train}/b"}
    assert folders_of(originals, "test") == {folder for folder in folders.split() if folder.startswith(f"{test}/")}
    assert originals.classes == ("a", "b")
    assert originals.notes[0] == f"4 training images in {train}/, {len(originals.splits['test'])} held out in {test}/"


def test_what_is_neither_for_training_nor_held_out_is_counted(tmp_path: Path) -> None:
    fill(tmp_path, "train/a test/a val/a")
    shutil.copy(tmp_path / "val" / "a" / "0.png", tmp_path / "banner.png")
    originals = read(tmp_path)
    assert "3 images are neither for training nor held out: " in originals.notes[1]
    assert "banner.png" in originals.notes[1]


def test_without_training_folder_what_is_not_held_out_is_for_training(tmp_path: Path) -> None:
    originals = read(fill(tmp_path, "a b Test/a Test/b val/a"))
    assert folders_of(originals, "train") == {"a", "b"}
    assert folders_of(originals, "test") == {"Test/a", "Test/b"}
    assert originals.notes[0] == "4 training images elsewhere, 4 held out in Test/"


def test_without_split_classes_are_below_the_folder_that_holds_all(tmp_path: Path) -> None:
    assert read(fill(tmp_path / "one", "pets/cats pets/dogs")).classes == ("cats", "dogs")
    assert read(fill(tmp_path / "two", "cats dogs/big")).classes == ("cats", "dogs")
    assert read(fill(tmp_path / "three", "cats")).classes == ("cats",)
    mixed = read(fill(tmp_path / "four", ". cats dogs"))
    assert mixed.classes == ("cats", "dogs")
    assert "2 images lie in no class's folder: " in mixed.notes[1]


AMBIGUOUS = {
    "train/a test/a cats": "train/ and beside it cats/, which may be classes",
    "train cats": "train/ and beside it cats/, which may be classes",
    "train/a/train test/a": "test/ and train/a/train/, which do not stand side by side",
    "cats/train cats/test dogs/train dogs/test": "cats/test/ and dogs/train/, which do not stand side by side",
    "cats dogs/test": "dogs/test/ and images outside of dogs/, which do not stand side by side",
    "train/a Train/a test/a": "Train/, train/, each of which could be train images",
    "train/a test/a Testing/a": "Testing/, test/, each of which could be test images",
    "train/a train/b": "has train/ but no folder of held-out images",
    "data/Train/a": "has data/Train/ but no folder of held-out images",
    "test/a test/b": "has only test/ and no training images",
    "trainA trainB testA testB": "trainA and testA, which may be training and held-out images",
    "seg_train/seg_train/a seg_test/seg_test/a seg_pred/a": "seg_train and seg_test, which may be",
    "data/01_Train/a data/02_Validation/a": "data/01_Train and data/02_Validation, which may be",
    "cats_train dogs_train cats_dev dogs_dev": "cats_train and cats_dev, which may be",
    "contest-training contest-testing": "contest-training and contest-testing, which may be",
    "Test/a val/a": "has only Test/, val/ and no training images",
}


@pytest.mark.parametrize("folders", AMBIGUOUS)
def test_what_can_be_understood_in_two_ways_is_refused_in_one_line(
    folders: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "from", folders)
    flags = ["image_folder", "--from", str(tmp_path / "from"), "--to", str(tmp_path / "to"), "--size", "16"]
    assert cli.main(["prepare", *flags]) == 2
    error = capsys.readouterr().err
    assert AMBIGUOUS[folders] in error
    assert "--train . all are training images" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "to").exists()


def test_files_that_are_called_by_their_split_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, ".")
    (tmp_path / "0.png").rename(tmp_path / "img_train_007.png")
    (tmp_path / "1.png").rename(tmp_path / "img_test_12.png")
    with pytest.raises(Unusable, match=r"--from has img_train_007.png and img_test_12.png, which may be training and held-out"):
        read(tmp_path)
    assert len(read(tmp_path, train=".").splits["test"]) == 1


def test_classes_whose_names_hold_a_word_of_a_split_are_classes(tmp_path: Path) -> None:
    classes = ("contest", "developer", "train_station", "trainer", "valley")
    assert read(fill(tmp_path, " ".join(classes))).classes == classes


def test_a_class_may_be_called_train_where_the_user_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vehicles = fill(tmp_path / "vehicles", "car train bus")
    flags = ["--from", str(vehicles), "--to", str(tmp_path / "to"), "--size", "16"]
    assert cli.main(["prepare", "image_folder", *flags, "--train", "."]) == 0
    manifest = json.loads((tmp_path / "to" / "image_folder-16" / "manifest.json").read_text())
    assert manifest["classes"] == ["bus", "car", "train"]
    assert "5 training images, and 1 held out" in capsys.readouterr().out
    inside = read(fill(tmp_path / "inside", "train/car train/train test/car test/train"), train="train", test="test")
    assert inside.classes == ("car", "train")
    assert [len(inside.splits[split]) for split in SPLITS] == [4, 4]
    other = read(fill(tmp_path / "other", "learn/a learn/b exam/a rest"), train="learn", test="exam")
    assert other.classes == ("a", "b")
    assert folders_of(other, "test") == {"exam/a"}
    assert "2 images are neither" in other.notes[1]
    tenth = read(tmp_path / "other", train="learn/")
    assert folders_of(tenth, "train") | folders_of(tenth, "test") == {"learn/a", "learn/b"}


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"train": "nowhere"}, "--train must be a folder of images below .*, not nowhere/"),
        ({"test": "../test"}, r"--test must be a folder below --from, relative to it, not \.\./test"),
        ({"train": "/train"}, "--train must be a folder below --from, relative to it, not /train"),
        ({"train": "train/a", "test": "train"}, "--test must not hold the training images: train/a/ lies in train/"),
    ],
)
def test_folders_that_are_not_there_are_refused(layout: dict[str, str], message: str, tmp_path: Path) -> None:
    fill(tmp_path, "train/a test/a")
    with pytest.raises(Unusable, match=message):
        read(tmp_path, **layout)


def test_files_that_are_no_folders_take_no_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prepare", "mnist", "--from", str(sets.mnist(tmp_path)), "--train", "a"]) == 2
    assert "--train and --test must be left out for mnist" in capsys.readouterr().err


def test_linked_folders_and_files_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "cats dogs")
    root = tmp_path / "from"
    root.mkdir()
    for name in ("cats", "dogs"):
        (root / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "dogs" / "round").symlink_to(root)
    (root / "gone").symlink_to(tmp_path / "not mounted")
    originals = read(root)
    assert sum(len(originals.splits[split]) for split in SPLITS) == 4
    assert originals.classes == ("cats", "dogs")
    assert "1 links lead nowhere and are left out: gone" in originals.notes
    assert "1 links lead back to a folder that they lie in and are not followed: dogs/round" in originals.notes


def test_a_folder_that_is_reached_twice_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "train/a")
    (tmp_path / "test").symlink_to(tmp_path / "train")
    with pytest.raises(Unusable, match=r"reaches the folder .*/train twice, as \w+/ and as \w+/"):
        read(tmp_path)


def test_a_held_out_image_that_is_a_training_image_as_well_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "train/a test/a")
    shutil.copy(tmp_path / "train" / "a" / "1.png", tmp_path / "test" / "a" / "copy.png")
    (tmp_path / "test" / "a" / "link.png").symlink_to(tmp_path / "train" / "a" / "0.png")
    (note,) = (note for note in read(tmp_path).notes if "training images as well" in note)
    assert note.startswith("2 held-out images are training images as well, so figures will flatter: ")
    assert "test/a/copy.png = train/a/1.png" in note


def test_whatever_lies_in_a_folder_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = fill(tmp_path / "from", "cats dogs")
    for name in ("._0.png", ".DS_Store", "Thumbs.db"):
        (root / "cats" / name).write_bytes(b"")
    (root / "__MACOSX").mkdir()
    shutil.copy(root / "cats" / "0.png", root / "cats" / "without_suffix")
    shutil.copy(root / "cats" / "0.png", root / "cats" / "photo.heic")
    for name in ("upper.PNG", "photo.JPEG"):
        Image.new("RGB", (16, 16), (len(name), 0, 0)).save(root / "cats" / name)
    os.mkfifo(root / "dogs" / "pipe.png")
    (root / "dogs" / "empty.jpg").touch()
    odd = os.fsencode(root / "dogs") + b"/\xff\xfe.png"
    shutil.copy(root / "dogs" / "0.png", odd)
    deep = root / "dogs" / "/".join(["d"] * 60)
    deep.mkdir(parents=True)
    Image.new("RGB", (16, 16), "red").save(deep / "deep.png")
    out = tmp_path / "out.json"
    flags = ["--from", str(root), "--to", str(tmp_path / "to"), "--size", "16", "--json", str(out)]
    assert cli.main(["prepare", "image_folder", *flags]) == 0
    printed, result = capsys.readouterr().out, json.loads(out.read_text())
    assert "2 other files are no images by their names (" in printed
    assert "without suffix 1" in printed
    assert ".heic 1" in printed
    assert "4 hidden files or folders are left out: " in printed
    assert {image["path"]: image["reason"] for image in result["bad"]} == {
        "dogs/pipe.png": "no regular file",
        "dogs/empty.jpg": "empty",
    }
    assert result["rows"]["train"] + result["rows"]["test"] == 4 + 2 + 1 + 1


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    fill(tmp_path / "photos", "train/a test/a")
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path / "photos")
    with pytest.raises(Unusable, match=r"must be a folder of images, not .*photos\.zip: unpack it first"):
        read(Path(archive))


# -- what is written depends on the images alone ----------------------------------------------------------------------------


def png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel, which Pillow reads and does not write: grey (h, w) or coloured (h, w, 3)."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [(b"IHDR", struct.pack(">2I5B", width, height, 16, 2 if pixels.ndim == 3 else 0, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def every_kind(root: Path) -> Path:
    """Good, bad and remarkable images."""
    sets.photos(root, 40)
    (root / "cats" / "words.png").write_text("no image")
    (root / "cats" / "cut.png").write_bytes((root / "cats" / "001.png").read_bytes()[:200])
    (root / "cats" / "gone.png").symlink_to(root / "nowhere")
    (root / "dogs" / "grey.png").write_bytes(png(np.full((16, 16), 0x1234)))
    (root / "dogs" / "colour.png").write_bytes(png(np.full((16, 16, 3), 0xABCD)))
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(root / "dogs" / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("LA", (16, 16), (9, 100)).save(root / "dogs" / "glass.png")
    return root


def test_equal_images_give_equal_files_wherever_and_whenever_they_are_prepared(tmp_path: Path) -> None:
    one = every_kind(tmp_path / "one")
    two = tmp_path / "another place" / "two"
    shutil.copytree(one, two, symlinks=True)
    for path in two.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    first = sets.prepared("image_folder", one, tmp_path / "to1", 16)
    second = sets.prepared("image_folder", two, tmp_path / "to2", 16)
    assert len(first.bad) == 3
    for path in (tmp_path / "to1" / "image_folder-16").iterdir():
        assert path.read_bytes() == (tmp_path / "to2" / "image_folder-16" / path.name).read_bytes(), path.name
    again = sets.prepared("image_folder", two, tmp_path / "to1", 16)
    assert (again.num_new, again.manifest) == (0, second.manifest), "a copy with other times is the same set"
    (two / "cats" / "001.png").write_bytes((two / "cats" / "003.png").read_bytes())
    with pytest.raises(Unusable, match="made from other files"):
        sets.prepared("image_folder", two, tmp_path / "to1", 16)


def test_sixteen_bits_are_eight_in_grey_as_in_colour_and_that_is_said(tmp_path: Path) -> None:
    folder = every_kind(tmp_path / "from")
    done = sets.prepared("image_folder", folder, tmp_path / "to", 16)
    remarks = dict(done.remarks)
    assert remarks["dogs/grey.png"] == remarks["dogs/colour.png"] == "16 bits per channel, of which the upper 8 are kept"
    assert remarks["dogs/moving.gif"] == "the first of several frames"
    assert remarks["dogs/glass.png"] == "transparent, laid over white"
    assert len(remarks) == 4
    found = sets.open_set("image_folder", tmp_path / "to", 16)
    colours = Counter(tuple(image[:, 3, 3].tolist()) for split in SPLITS for image in found.mapped(split))
    assert colours[0x12, 0x12, 0x12] == 1
    assert colours[0xAB, 0xAB, 0xAB] == 1
    assert colours[(round(9 * 100 / 255 + 255 * 155 / 255),) * 3] == 1


def test_warnings_of_pillow_name_their_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sets.photos(tmp_path / "from", 20)
    Image.new("RGB", (40, 40)).save(folder / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert cli.main(["prepare", "image_folder", "--from", str(folder), "--to", str(tmp_path / "to"), "--size", "16"]) == 0
    printed = capsys.readouterr()
    assert "1 x Pillow warns: Image size (1600 pixels) exceeds limit of 1000 pixels" in printed.out
    assert "large.png" in printed.out
    assert printed.err == ""


# -- two at once ------------------------------------------------------------------------------------------------------------


def test_a_second_prepare_into_the_same_folder_is_refused_while_the_first_is_at_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = sets.mnist(tmp_path / "from")
    flags = ["prepare", "mnist", "--from", str(source), "--to", str(tmp_path / "to")]
    (tmp_path / "to" / "mnist-28").mkdir(parents=True)
    with FileLock(tmp_path / "to" / "mnist-28" / ".prepare.lock"):
        assert cli.main(flags) == 2
        assert "mnist-28: another prepare is at work there" in capsys.readouterr().err
    assert cli.main(flags) == 0, "the lock has gone with its holder"


def test_of_many_prepares_at_once_one_writes_and_the_set_is_whole(tmp_path: Path) -> None:
    source, ended = sets.mnist(tmp_path / "from"), list[object]()
    left = tmp_path / "to" / "mnist-28" / "train-00000.parquet.partial"
    left.parent.mkdir(parents=True)
    left.write_text("of a process that was killed")

    def work() -> None:
        try:
            ended.append(sets.prepared("mnist", source, tmp_path / "to", per_shard=4))
        except Unusable as error:
            ended.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 4
    assert any(not isinstance(each, str) for each in ended)
    assert all("another prepare is at work" in each for each in ended if isinstance(each, str))
    np.testing.assert_array_equal(sets.open_set("mnist", tmp_path / "to", 28).mapped("train"), sets.pixels(100))
    assert not list(left.parent.glob("*.partial"))


def test_a_damaged_shard_of_a_finished_set_is_written_again_by_the_same_command(tmp_path: Path) -> None:
    source = every_kind(tmp_path / "from")
    done = sets.prepared("image_folder", source, tmp_path / "to", 16)
    path = tmp_path / "to" / "image_folder-16" / "train-00001.parquet"
    whole = path.read_bytes()
    for place in range(10, len(whole), len(whole) // 25):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        again = sets.prepared("image_folder", source, tmp_path / "to", 16)
        assert again.num_new == 16
        assert again.manifest == done.manifest
        assert path.read_bytes() == whole
