"""A million samples as Parquet: the same numbers whatever the workers, resumable, readable by pyarrow alone, on S3 as well."""

import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import picture_sets as sets
import pyarrow.parquet as pq
import pytest
from flows import QUICK, tiny, train

from deploy.bulk.generate import generation_of
from deploy.bulk.parts import MANIFEST, finished
from deploy.cli import main
from pipeline.errors import FolderTaken
from pipeline.generator import MOST_PER_PART, Generator, load_generator, push_in_blocks
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store


@pytest.fixture
def registered(store: Store) -> MapRef:
    ref = train(tiny(num_steps=12), store)[-1].ref
    assert main(["register", ref.run_id, "--name", "moons", *QUICK]) == 0
    return ref


def draw(generator: Generator, seed: int, part: int, n: int) -> np.ndarray:
    return push_in_blocks(generator, generator.noise_at(n, seed, part))


def samples_of(folder: Path) -> np.ndarray:
    column = pq.read_table(folder, columns=["sample"]).column("sample").combine_chunks()
    return np.asarray(column.flatten()).reshape(-1, column.type.list_size)


@pytest.mark.real
@pytest.mark.usefixtures("one_ray")
def test_a_million_points_with_two_workers_in_parts(registered: MapRef, store: Store, tmp_path: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    command = ["generate", "moons@candidate", "--num-samples", "1000000"]
    assert main([*command, "--to", str(two), "--cluster.num-workers", "2"]) == 0
    samples = samples_of(two)
    assert samples.shape == (1_000_000, 2)
    assert np.isfinite(samples).all()
    first = draw(load_generator(store, registered), 0, 0, MOST_PER_PART)
    np.testing.assert_array_equal(samples[:MOST_PER_PART], first)
    assert len(np.unique(samples, axis=0)) > 999_000, "no part repeats another"

    for path in sorted(two.glob("part-*"))[3:]:
        path.unlink()
    (two / MANIFEST).rename(tmp_path / MANIFEST)
    kept = {path: path.stat().st_mtime_ns for path in two.glob("part-*")}
    assert main([*command, "--to", str(two)]) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "parts that are there are not written again"
    assert (two / MANIFEST).read_text() == (tmp_path / MANIFEST).read_text()
    assert not list(two.glob("*.partial"))

    assert main(["generate", "moons@candidate", "--num-samples", "1000000", "--to", str(one), "--seed", "1"]) == 0
    assert json.loads((one / MANIFEST).read_text())["sha256"] != json.loads((two / MANIFEST).read_text())["sha256"]
    assert [pq.read_metadata(path).num_rows for path in sorted(one.glob("part-*"))] == [MOST_PER_PART] * 15 + [16_960]


@pytest.mark.thorough
@pytest.mark.usefixtures("one_ray")
def test_samples_in_a_folder_of_any_name_are_gone_on_with_and_never_overwritten(
    registered: MapRef, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "out[1]*? a::b ü #%41"
    folder = tmp_path / name
    command = ["generate", "moons@candidate", "--num-samples", "70000", "--to", str(folder)]
    assert main(command) == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [MANIFEST, "part-000000.parquet", "part-000001.parquet"]
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("part-*")}
    (folder / MANIFEST).unlink()
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what is there is not made again"
    capsys.readouterr()
    assert main([*command, "--seed", "1"]) == 2
    assert "of another map, seed, condition or number: choose another folder" in " ".join(capsys.readouterr().err.split())
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("home", name)] == []


@pytest.mark.thorough
@pytest.mark.usefixtures("one_ray")
def test_an_earlier_phase_can_be_drawn_from(registered: MapRef, store: Store, tmp_path: Path) -> None:
    command = ["generate", "moons@candidate", "--num-samples", "500", "--to", str(tmp_path / "out")]
    assert main([*command, "--phase", "0"]) == 0
    first = store.ancestors(registered)[0]
    np.testing.assert_array_equal(samples_of(tmp_path / "out"), draw(load_generator(store, first), 0, 0, 500))
    assert main([*command, "--phase", "2"]) == 2


@pytest.mark.thorough
@pytest.mark.usefixtures("s3_here", "ray_of_this_environment")
def test_samples_go_to_s3(registered: MapRef, new_bucket: Callable[[], str]) -> None:
    bucket = new_bucket()
    assert main(["generate", "moons@candidate", "--num-samples", "70000", "--to", f"s3://{bucket}/out"]) == 0
    files = fsspec.filesystem("s3")
    names = sorted(path.rpartition("/")[2] for path in files.ls(f"{bucket}/out"))
    assert names == [MANIFEST, "part-000000.parquet", "part-000001.parquet"]
    with files.open(f"{bucket}/out/part-000001.parquet") as file:
        assert pq.read_table(file).num_rows == 70_000 - MOST_PER_PART


def test_a_folder_with_other_samples_is_refused(store: Store, tmp_path: Path) -> None:
    generator = load_generator(store, train(tiny(num_phases=1), store)[0].ref)
    generation = generation_of(generator, seed=0, num_samples=100, url=str(tmp_path))
    assert finished(generation) == {}
    (tmp_path / "part-000000.parquet").write_bytes(b"something else")
    with pytest.raises(FolderTaken, match=r"already holds part-000000\.parquet of another map, seed, condition or number"):
        finished(generation)


@pytest.mark.thorough
@pytest.mark.usefixtures("one_ray")
def test_a_folder_that_cannot_be_written_where_workers_are_is_said_in_their_words(
    registered: MapRef, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.actions.require_writable", lambda url: None)  # as on a machine where it can be
    assert main(["generate", "moons@candidate", "--num-samples", "10", "--to", "/proc/samples"]) == 1
    error = capsys.readouterr().err
    assert "/proc/samples could not be written: FileNotFoundError: [Errno 2] No such file or directory: '/proc/samples'" in error
    assert "DataContext" not in error.splitlines()[-1]


@pytest.mark.parametrize("damage", [sets.flip_a_byte, lambda path: path.write_bytes(path.read_bytes()[:-50])])
@pytest.mark.thorough
@pytest.mark.usefixtures("one_ray")
def test_a_damaged_part_is_written_again(
    damage: Callable[[Path], object], registered: MapRef, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = ["generate", "moons@candidate", "--num-samples", "1000", "--to", str(tmp_path / "out")]
    assert main(command) == 0
    (part,) = (tmp_path / "out").glob("part-*")
    whole = part.read_bytes()
    damage(part)
    assert main(command) == 0
    assert part.read_bytes() == whole
    assert f"{part} is damaged: it is written again" in caplog.messages


def test_parts_do_not_depend_on_the_machine(registered: MapRef, store: Store) -> None:
    generation = generation_of(load_generator(store, registered), seed=3, num_samples=150_000, url="x")
    assert (generation.per_part, generation.num_parts) == (65_536, 3)
    assert [generation.identity(part)["num_samples"] for part in range(3)] == [65_536, 65_536, 18_928]
    again = generation.generator.generator()
    np.testing.assert_array_equal(draw(again, 3, 1, 10), draw(load_generator(store, registered), 3, 1, 10))


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("--num-samples 0", ("--num-samples must be at least 1", "0")),
        ("--num-samples 5 --cluster.num-workers 0", ("cluster.num_workers must be", "at least 1")),
        ("--num-samples 5 --seed -1", ("--seed", "at least 0")),
        ("--num-samples 5 --phase -1", ("--phase", "at least 0")),
        ("--num-samples 5 --seed 9223372036854775808", ("--seed", "at most 9223372036854775807")),
        ("--num-samples 10000000001", ("--num-samples", "at most 10000000000")),
        ("--num-samples many", ("num-samples", "many")),
    ],
)
def test_a_mistake_is_one_line(flags: str, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["generate", "moons@candidate", "--to", str(tmp_path), *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in parts:
        assert part in error
