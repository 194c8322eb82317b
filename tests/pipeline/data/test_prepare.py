"""Preparing images: what is written is what was found, in a fixed order; a killed run goes on; nothing is dropped in silence."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import picture_sets as sets
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.command import cli
from pipeline.data.images.prepared import SPLITS, open_images
from pipeline.errors import Unusable

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))


def rows(folder: Path) -> list[tuple[bytes, int]]:
    """Images and labels in the order of their shards."""
    tables = [pq.read_table(path) for split in SPLITS for path in sorted(folder.glob(f"{split}-*.parquet"))]
    return [pair for table in tables for pair in zip(table["image"].to_pylist(), table["label"].to_pylist(), strict=True)]


@pytest.mark.parametrize("encoding", ["raw", "encoded"])
def test_idx_files_keep_their_pixels_labels_and_order(encoding: str, tmp_path: Path) -> None:
    done = sets.prepared("mnist", sets.mnist(tmp_path / "from"), tmp_path / "to", encoding=encoding)  # type: ignore[arg-type]
    assert [done.manifest["splits"][split]["rows"] for split in SPLITS] == [100, 30]
    assert len(done.manifest["splits"]["train"]["shards"]) == 7
    found = sets.open_set("mnist", tmp_path / "to", 28)
    for i, (split, n) in enumerate((("train", 100), ("test", 30))):
        np.testing.assert_array_equal(found.mapped(split), sets.pixels(n, seed=i))
    written = [label for _, label in rows(tmp_path / "to" / "mnist-28")]
    assert written == [*sets.labels(100), *sets.labels(30, seed=1)]
    mean, variance = found.levels()
    np.testing.assert_allclose(mean, sets.pixels(100).mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance, sets.pixels(100).astype(float).var(0), rtol=1e-9)


def test_letters_of_emnist_are_turned_upright(tmp_path: Path) -> None:
    sets.prepared("emnist_letters", sets.emnist(tmp_path / "from"), tmp_path / "to")
    upright = sets.pixels(100, seed=50).transpose(0, 1, 3, 2)
    np.testing.assert_array_equal(sets.open_set("emnist_letters", tmp_path / "to", 28).mapped("train"), upright)


def test_cifar10_is_read_from_its_binary_version_packed_or_not(tmp_path: Path) -> None:
    folder = sets.cifar10(tmp_path / "from" / "cifar-10-batches-bin")
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-bin")
    digests = {
        sets.prepared("cifar10", source, tmp_path / f"to{i}").manifest["digest"]
        for i, source in enumerate((folder, folder.parent, tmp_path / "cifar-10-binary.tar.gz"))
    }
    assert len(digests) == 1
    expected = np.concatenate([sets.pixels(10, 3, 32, seed=i) for i in range(5)])
    np.testing.assert_array_equal(sets.open_set("cifar10", tmp_path / "to0", 32).mapped("train"), expected)


def test_the_python_version_of_cifar10_is_refused_with_the_name_of_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"never opened")
    assert cli.main(["prepare", "cifar10", "--from", str(folder), "--to", str(tmp_path / "to")]) == 2
    error = capsys.readouterr().err
    assert "cifar-10-binary.tar.gz" in error
    assert "executing" in error
    assert error.count("\n") == 1


def test_the_digest_is_that_of_stored_images_and_labels_in_order(tmp_path: Path) -> None:
    source = sets.mnist(tmp_path / "from")
    done = sets.prepared("mnist", source, tmp_path / "to")
    digest = hashlib.sha256()
    for i, (split, n) in enumerate((("train", 100), ("test", 30))):
        digest.update(split.encode())
        for image, label in zip(sets.pixels(n, seed=i), sets.labels(n, seed=i), strict=True):
            digest.update((784).to_bytes(8, "little") + int(label).to_bytes(8, "little") + image.tobytes())
    assert done.manifest["digest"] == digest.hexdigest()
    for per_shard in (7, 64, None):
        other = sets.prepared("mnist", source, tmp_path / f"to{per_shard}", per_shard=per_shard)
        assert other.manifest["digest"] == digest.hexdigest()
    another = sets.mnist(tmp_path / "another")
    sets.write_idx(another / "t10k-labels-idx1-ubyte.gz", (sets.labels(30, seed=1) + 1) % 10)
    assert sets.prepared("mnist", another, tmp_path / "other").manifest["digest"] != digest.hexdigest()


def test_a_shard_says_what_it_holds(tmp_path: Path) -> None:
    sets.prepared("mnist", sets.mnist(tmp_path / "from"), tmp_path / "to")
    schema = pq.read_schema(tmp_path / "to" / "mnist-28" / "train-00001.parquet")
    footer = json.loads(schema.metadata[b"sjko"])
    assert (footer["name"], footer["split"], footer["number"], footer["channels"], footer["side"]) == ("mnist", "train", 1, 1, 28)
    assert str(schema.field("image").type) == "fixed_size_binary[784]"
    assert str(schema.field("label").type) == "int32"


def save(image: Image.Image, path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def test_images_of_every_kind_become_rgb_squares_and_bad_ones_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sets.photos(tmp_path / "from", 30)
    half_red = Image.new("RGBA", (40, 20), (255, 0, 0, 255))
    half_red.paste((0, 0, 255, 0), (0, 0, 20, 20))  # the left half is transparent
    save(half_red, folder / "rgba.png")
    save(Image.new("CMYK", (30, 20), (0, 255, 255, 0)), folder / "cmyk.jpg", quality=95)
    save(Image.new("L", (20, 30), 77), folder / "grey.png")
    save(Image.new("1", (20, 20), 1), folder / "black_and_white.png")
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    save(palette, folder / "palette.png")
    sideways = Image.new("RGB", (32, 16), "blue")
    sideways.paste("lime", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right: the left half is on top
    save(sideways, folder / "sideways.jpg", quality=95, exif=exif)
    good = {"rgba.png", "cmyk.jpg", "grey.png", "black_and_white.png", "palette.png", "sideways.jpg", "deep.png"}
    whole = io.BytesIO()
    Image.fromarray(sets.pixels(1, 3, 64)[0].transpose(1, 2, 0)).save(whole, "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.jpeg").write_text("no image")
    save(Image.new("I;16", (20, 20), 0x9C40), folder / "deep.png")
    save(Image.new("F", (20, 20), 0.5), folder / "numbers.tif")
    (folder / "nowhere.png").symlink_to(tmp_path / "nowhere")
    bad = {
        "cut.jpg": "OSError: ",
        "empty.png": "empty",
        "words.jpeg": "no image that Pillow knows",
        "numbers.tif": "mode F: numbers of 32 bits, and nothing says which of them are black and white",
        "nowhere.png": "a link that leads nowhere",
    }
    (folder / "notes.txt").write_text("not an image, nor named like one")

    out = tmp_path / "out.json"
    flags = ["--from", str(folder), "--to", str(tmp_path / "to"), "--size", "16", "--json", str(out)]
    assert cli.main(["prepare", "image_folder", *flags]) == 0
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert {image["path"] for image in result["bad"]} == set(bad)
    assert all(image["reason"].startswith(bad[image["path"]]) for image in result["bad"])
    assert result["rows"]["train"] + result["rows"]["test"] == 30 + len(good)
    listed = json.loads((tmp_path / "to" / "image_folder-16" / "bad_images.json").read_text())
    assert listed == result["bad"]
    for name in bad:
        assert f"bad: {name}: " in printed
    assert "1 other files are no images by their names (.txt 1)" in printed
    assert "1 x 16 bits per channel, of which the upper 8 are kept: deep.png" in printed
    assert "1 x transparent, laid over white: rgba.png" in printed
    assert "1 x CMYK, made RGB without its colour profile: cmyk.jpg" in printed
    assert result["digest"] in printed
    assert f"--store.data {tmp_path / 'to'}" in printed

    found = sets.open_set("image_folder", tmp_path / "to", 16)
    originals = sets.plan("image_folder", folder, tmp_path / "to", 16).originals.splits
    names = [original.name for split in SPLITS for original in originals[split] if original.name not in bad]
    image = dict(zip(names, np.concatenate([found.mapped(split) for split in SPLITS]), strict=True))
    assert image["rgba.png"][:, 8, 2].tolist() == [255, 255, 255], "what is transparent is white"
    assert image["rgba.png"][:, 8, 13].tolist() == [255, 0, 0]
    assert image["cmyk.jpg"][:, 8, 8].tolist() == pytest.approx([255, 0, 0], abs=30)
    assert image["grey.png"][:, 8, 8].tolist() == [77, 77, 77]
    assert image["black_and_white.png"][:, 8, 8].tolist() == [255, 255, 255]
    assert image["palette.png"][:, 8, 8].tolist() == [10, 200, 30]
    assert image["deep.png"][:, 8, 8].tolist() == [0x9C] * 3
    assert image["sideways.jpg"][:, 2, 8].tolist() == pytest.approx([0, 255, 0], abs=30), "upright: green is on top"
    assert image["sideways.jpg"][:, 13, 8].tolist() == pytest.approx([0, 0, 255], abs=30)


def test_files_of_the_right_size_are_stored_as_they_are_and_others_as_png(tmp_path: Path) -> None:
    folder = sets.photos(tmp_path / "from", 20)
    save(Image.fromarray(sets.pixels(1, 3, 16, seed=9)[0].transpose(1, 2, 0)), folder / "cats" / "photo.jpg")
    save(Image.new("RGB", (20, 16), "red"), folder / "cats" / "wide.jpg")
    sets.prepared("image_folder", folder, tmp_path / "to", 16)
    stored = [image for image, _ in rows(tmp_path / "to" / "image_folder-16")]
    as_found = {path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "wide.jpg"}
    assert len(stored) == 22
    assert as_found < set(stored)
    (other,) = set(stored) - as_found
    with Image.open(io.BytesIO(other)) as image:
        assert (image.format, image.size) == ("PNG", (16, 16))
    raw = sets.prepared("image_folder", folder, tmp_path / "raw", 16, encoding="raw")
    assert raw.manifest["encoding"] == "raw"
    np.testing.assert_array_equal(
        sets.open_set("image_folder", tmp_path / "to", 16).mapped("train"),
        sets.open_set("image_folder", tmp_path / "raw", 16).mapped("train"),
    )


def test_without_a_test_folder_a_tenth_is_held_out_by_hash_and_folders_are_classes(tmp_path: Path) -> None:
    folder = sets.photos(tmp_path / "from", 40)
    plan = sets.plan("image_folder", folder, tmp_path / "to", 16)
    names = [original.name for split in SPLITS for original in plan.originals.splits[split]]
    assert names == sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    assert len(plan.originals.splits["test"]) == 4
    assert plan.originals.classes == ("cats", "dogs")
    assert {(o.name.split("/")[0], o.label) for o in plan.originals.splits["train"]} == {("cats", 0), ("dogs", 1)}
    flat = tmp_path / "flat"
    for path in folder.rglob("*.png"):
        save(Image.open(path), flat / path.name)
    assert {o.label for o in sets.plan("image_folder", flat, tmp_path / "to", 16).originals.splits["train"]} == {-1}


PREPARE_SLOWLY = """
import sys, time
import picture_sets as sets
from pathlib import Path
from pipeline.data.preparing.write import write_set
write_set(sets.plan("mnist", Path(sys.argv[1]), sys.argv[2], per_shard=8), lambda done, total: time.sleep(0.05))
"""


@pytest.mark.thorough
def test_a_killed_run_goes_on_and_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    source = sets.mnist(tmp_path / "from")
    folder = tmp_path / "to" / "mnist-28"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    running = subprocess.Popen([sys.executable, "-c", PREPARE_SLOWLY, source, tmp_path / "to"], env=environment)
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.parquet"))) < 4:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    with pytest.raises(Unusable, match="holds no prepared images"):
        open_images(str(folder))
    there = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*.parquet"))}
    cut, flipped, *kept = there
    cut.write_bytes(cut.read_bytes()[:-20])
    sets.flip_a_byte(flipped)
    done = sets.prepared("mnist", source, tmp_path / "to", per_shard=8)
    assert done.num_kept_shards == len(kept) >= 2
    assert all(path.stat().st_mtime_ns == there[path] for path in kept)
    whole = sets.prepared("mnist", source, tmp_path / "whole", per_shard=8)
    assert done.manifest == whole.manifest
    for path in (tmp_path / "whole" / "mnist-28").iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name
    again = sets.prepared("mnist", source, tmp_path / "to", per_shard=8)
    assert (again.num_new, again.manifest) == (0, whole.manifest)


def test_shards_of_other_originals_are_not_taken_over_nor_is_another_set_overwritten(tmp_path: Path) -> None:
    one, two = sets.mnist(tmp_path / "one"), sets.mnist(tmp_path / "two", seed=7)
    first = sets.prepared("mnist", one, tmp_path / "to")
    manifest = tmp_path / "to" / "mnist-28" / "manifest.json"
    with pytest.raises(Unusable, match=f"already holds mnist, digest {first.manifest['digest']}"):
        sets.prepared("mnist", two, tmp_path / "to")
    manifest.unlink()  # as if the first run had been killed
    second = sets.prepared("mnist", two, tmp_path / "to")
    assert second.num_kept_shards == 0
    np.testing.assert_array_equal(sets.open_set("mnist", tmp_path / "to", 28).mapped("train"), sets.pixels(100, seed=7))


def test_a_set_is_prepared_into_memory_as_into_a_folder(tmp_path: Path) -> None:
    source = sets.mnist(tmp_path / "from")
    done = sets.prepared("mnist", source, "memory://sets")
    found = sets.open_set("mnist", "memory://sets", 28)
    assert found.digest == done.manifest["digest"]
    np.testing.assert_array_equal(found.mapped("test"), sets.pixels(30, seed=1))
    assert sets.prepared("mnist", source, "memory://sets").num_new == 0


@pytest.mark.parametrize(
    ("sides", "chosen"),
    [((300, 60, 41), 48), pytest.param((2000, 900), 64, marks=pytest.mark.slow), ((30, 30, 200), 28), ((9, 12), 16)],
)
def test_a_folder_s_images_say_how_large_they_become(
    sides: tuple[int, ...], chosen: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(24):
        side = sides[number % len(sides)]
        save(Image.new("RGB", (side, 2 * side), (number, 0, 0)), tmp_path / "from" / f"{number}.png")
    (tmp_path / "from" / "broken.png").write_bytes(b"no image")
    done = cli.main(["prepare", "image_folder", "--from", str(tmp_path / "from"), "--to", str(tmp_path / "to")])
    printed = capsys.readouterr().out
    assert done == 0
    assert f"{chosen} x {chosen} pixels, chosen by the sides of the images" in printed
    assert ("ten minutes of one core learn more of 32 x 32: --size 32" in printed) == (chosen > 32)
    assert f"test images of 3 x {chosen} x {chosen}; 1 bad" in printed
    assert f"--data.size {chosen}" in printed or chosen == 32


MISTAKES = {
    "mnist": ("--from must be given for mnist",),
    "mnist --from nowhere": ("--from must be an existing folder", "nowhere"),
    "mnist --from {empty}": ("--from must be a folder with train-images-idx3-ubyte.gz", "empty"),
    "mnist --from {broken}": ("train-images-idx3-ubyte.gz cannot be read",),
    "mnist --from {labels}": ("train-images-idx3-ubyte.gz is not an idx file of images",),
    "mnist --from {short}": ("train-images-idx3-ubyte.gz is cut short", "100 x 28 x 28"),
    "image_folder --from {empty}": ("at least one training and one test image (0 found)",),
    "image_folder --from {bad}": ("no usable train image", "first one"),
    "image_folder --from {empty} --size 16": ("at least one training and one test image (0 found)",),
    "image_folder --from {file} --size 16": ("--from must be a folder of images",),
    "image_folder --from {bad} --size 16": ("no usable train image", "first one"),
    "image_folder --from {empty} --size 4": ("--size must be from 8 to 1024, not 4",),
    "cifar10 --from {empty}": ("cifar-10-binary.tar.gz", "data_batch_1.bin"),
    "celeba --from {empty}": ("celeba_hq", "celeba"),
    "mnist --from {good} --to foo://bucket": ("--to must be a path or a URL that fsspec knows", "foo://bucket"),
    "mnist --from {good} --to {file}/sets": ("--to must be a folder", "file/sets'"),
    "mnist --from {good} --json {empty}": ("--json must be a file",),
}


@pytest.mark.parametrize("flags", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(flags: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {name: tmp_path / name for name in ("empty", "broken", "labels", "short", "bad", "file", "good")}
    places["empty"].mkdir()
    places["file"].write_text("a file")
    for name in ("good", "broken", "labels", "short"):
        sets.mnist(places[name])
    first = "train-images-idx3-ubyte.gz"
    (places["broken"] / first).write_bytes((places["good"] / first).read_bytes()[:1000])
    (places["labels"] / first).write_bytes((places["good"] / "train-labels-idx1-ubyte.gz").read_bytes())
    content = np.frombuffer((100).to_bytes(4, "big") + (28).to_bytes(4, "big") * 2, dtype=np.uint8)
    (places["short"] / "train-images-idx3-ubyte").write_bytes((0x803).to_bytes(4, "big") + content.tobytes() + b"1234")
    (places["short"] / first).unlink()
    places["bad"].mkdir()
    for i in range(2):
        (places["bad"] / f"{i}.png").write_text("no image")
    arguments = flags.format(**places).split()
    assert cli.main(["prepare", *arguments, *([] if "--to" in flags else ["--to", str(tmp_path / "to")])]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for part in MISTAKES[flags]:
        assert part.replace("-ubyte.gz is cut", "-ubyte is cut") in error


def test_the_default_place_is_below_the_home_and_debians_images_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = sets.mnist(tmp_path / "from", 20, 10)
    assert cli.main(["prepare", "mnist", "--from", str(source), "--size", "14", "--encoding", "encoded"]) == 0
    assert open_images(str(tmp_path / "home" / "data" / "mnist-14")).num_rows("train") == 20
    printed = capsys.readouterr().out
    assert "next: python -m pipeline run" in printed
    assert "--data.size 14" in printed
    assert "20 training and 10 test images of 1 x 14 x 14; 0 bad" in printed


@pytest.mark.real
def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real SIGINT to a real process, while it writes; `env`, because a shell's background jobs ignore it."""
    source = sets.mnist(tmp_path / "from", 60_000, 10)
    prepare = ["prepare", "mnist", "--from", source, "--to", tmp_path / "to", "--size", "64"]
    command = ["env", "--default-signal=INT", sys.executable, "-m", "pipeline", *prepare]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "to").rglob("*.parquet")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "finished shards are kept, and the same command goes on:" in error
    assert "Traceback" not in error
