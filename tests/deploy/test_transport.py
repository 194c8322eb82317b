"""Given points as Parquet: the same bytes whatever the workers and however often it was stopped, with all other columns kept."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import picture_sets as sets
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from flows import QUICK, command_environment, tiny, train

from deploy.bulk.inputs import inputs_at
from deploy.bulk.parts import MANIFEST, PartWriter, finished, path_of
from deploy.bulk.transport import Transport, require_points, transport_of
from deploy.cli import main
from pipeline.errors import FolderTaken, Unusable
from pipeline.generator import MOST_PER_PART, Generator, load_generator, push_in_blocks
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store
from pipeline.training.group import PhaseResult

NUM = 3 * MOST_PER_PART + 1000


@pytest.fixture
def phases(shared_store: Store) -> list[PhaseResult]:
    """Two phases whose maps take a latent z."""
    return train(tiny(num_steps=12, z_dim=2), shared_store)


@pytest.fixture
def generator(phases: list[PhaseResult], shared_store: Store) -> Generator:
    return load_generator(shared_store, phases[-1].ref)


@pytest.fixture
def registered(phases: list[PhaseResult]) -> MapRef:
    assert main(["register", phases[-1].ref.run_id, "--name", "moons", *QUICK]) == 0
    return phases[-1].ref


def points_of(num: int = NUM) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((num, 2))


def a_table(num: int = NUM) -> pa.Table:
    """Points with an identifier in front, and a column behind that is missing here and there."""
    x, y = points_of(num).T
    words = pa.array([None if number % 3 == 0 else f"é {number}" for number in range(num)])
    return pa.table({"id": [f"{number:07d}" for number in range(num)], "x": x, "word": words, "y": y})


def plan_of(generator: Generator, source: Path, to: Path, **asked: object) -> Transport:
    return transport_of(generator, inputs_at(str(source)), **{"seed": 3, "url": str(to), **asked})


def write_all(plan: Transport, source: Path, numbers: list[int] | None = None) -> None:
    """Write parts as a worker does."""
    inputs, writer = inputs_at(str(source)), PartWriter(plan)
    for part in range(plan.num_parts) if numbers is None else numbers:
        writer.write({"id": part, "rows": inputs.held(*plan.span(part))})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_keep_their_order_and_columns_and_get_what_python_gives(generator: Generator, tmp_path: Path) -> None:
    table, source = a_table(MOST_PER_PART + 500), tmp_path / "in.parquet"
    pq.write_table(table, source, row_group_size=7_000)
    plan = plan_of(generator, source, tmp_path / "out")
    assert plan.num_parts == 2
    write_all(plan, source, [1, 0])
    moved = pq.read_table(tmp_path / "out").replace_schema_metadata()
    assert moved.schema == table.schema.set(1, pa.field("x", pa.float32())).set(3, pa.field("y", pa.float32()))
    for name in ("id", "word"):
        assert moved[name].equals(table[name])
    samples = np.stack([moved["x"], moved["y"]], axis=1)
    points = points_of(MOST_PER_PART + 500).astype(np.float32)
    np.testing.assert_array_equal(samples, generator.transport(points, seed=3))
    np.testing.assert_array_equal(samples[:100], generator.transport(points[:100], seed=3))
    assert not np.array_equal(samples, generator.transport(points, seed=4)), "z is drawn from the seed"


def test_transporting_the_source_s_own_draws_gives_the_samples(generator: Generator) -> None:
    noise = generator.noise_at(3000, 7, 0)
    np.testing.assert_array_equal(generator.transport(noise.x, seed=7), push_in_blocks(generator, noise))


@pytest.mark.parametrize("ending", ["csv", "feather", "npy", "folder", "pattern", "csv.gz"])
def test_every_kind_of_file_gives_the_same_numbers(ending: str, generator: Generator, tmp_path: Path) -> None:
    table = a_table(900)
    source = tmp_path / f"in.{ending}"
    if ending == "npy":
        np.save(source, points_of(900))
    elif ending == "feather":
        pa.feather.write_feather(table, str(source))
    elif ending in ("folder", "pattern"):
        source = tmp_path / "in"
        source.mkdir()
        for start in (0, 300, 600):
            pq.write_table(table.slice(start, 300), source / f"shard-{start}.parquet")
        (source / "_SUCCESS").touch()
        source = source / "*.parquet" if ending == "pattern" else source
    else:
        with fsspec.open(source, "wb", compression="infer") as file:
            pa.csv.write_csv(table, file)
    plan = plan_of(generator, source, tmp_path / "out")
    write_all(plan, source)
    moved = pq.read_table(path_of(str(tmp_path / "out"), 0))
    samples = np.stack(moved["sample"].to_numpy()) if ending == "npy" else np.stack([moved["x"], moved["y"]], axis=1)
    np.testing.assert_array_equal(samples, generator.transport(points_of(900).astype(np.float32), seed=3))
    if ending != "npy":
        assert moved["id"].equals(table["id"]), "with the zeros in front"
        assert moved["word"].to_pylist() == table["word"].to_pylist()


def test_columns_in_another_order_go_by_the_names_that_are_asked_for(generator: Generator, tmp_path: Path) -> None:
    table = a_table(50)
    pq.write_table(table.select(["y", "id", "x"]), tmp_path / "in.parquet")
    write_all(plan_of(generator, tmp_path / "in.parquet", tmp_path / "out", asked=("x", "y")), tmp_path / "in.parquet")
    moved = pq.read_table(tmp_path / "out")
    assert moved.column_names == ["y", "id", "x"]
    expected = generator.transport(points_of(50).astype(np.float32), seed=3)
    np.testing.assert_array_equal(np.stack([moved["x"], moved["y"]], axis=1), expected)


def test_points_far_outside_are_counted_in_the_part_that_has_them(generator: Generator, tmp_path: Path) -> None:
    points = points_of(70_000)
    points[[5, 66_000, 69_999]] = 30.0
    np.save(tmp_path / "in.npy", points)
    plan = plan_of(generator, tmp_path / "in.npy", tmp_path / "out")
    write_all(plan, tmp_path / "in.npy")
    facts = finished(plan)
    assert [facts[part]["far"] for part in (0, 1)] == [1, 2]
    assert plan.summary(facts) == {"num_samples": 70_000, "far": 3}


def test_another_seed_input_or_order_of_columns_is_another_job(generator: Generator, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(a_table(50), source)
    plan = plan_of(generator, source, tmp_path / "out")
    write_all(plan, source)
    assert finished(plan_of(generator, source, tmp_path / "out")).keys() == {0}
    others = [plan_of(generator, source, tmp_path / "out", **asked) for asked in ({"seed": 4}, {"asked": ("y", "x")})]
    pq.write_table(a_table(50).slice(0, 49), source)
    for other in (*others, plan_of(generator, source, tmp_path / "out")):
        with pytest.raises(FolderTaken, match=r"already holds part-000000\.parquet of another map, seed, condition or input"):
            finished(other)


@pytest.mark.parametrize("column", ["x", "id"])
def test_a_damaged_part_is_made_again_whichever_column_the_damage_hits(column: str, generator: Generator, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(a_table(5000), source)
    plan = plan_of(generator, source, tmp_path / "out")
    write_all(plan, source)
    path = Path(path_of(str(tmp_path / "out"), 0))
    number = pq.read_schema(path).get_field_index(column)
    chunk = pq.read_metadata(path).row_group(0).column(number)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    assert finished(plan) == {}


def test_a_file_that_changes_while_it_is_read_is_said(generator: Generator, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(a_table(50), source)
    plan = plan_of(generator, source, tmp_path / "out")
    pq.write_table(a_table(60), source)
    with pytest.raises(Unusable, match=r"in\.parquet has changed while it was read"):
        write_all(plan, source)
    assert not (tmp_path / "out").exists()


def test_a_bad_point_is_named_before_anything_is_written(generator: Generator, tmp_path: Path) -> None:
    table = a_table(MOST_PER_PART + 100)
    x = np.asarray(table["x"]).copy()
    x[MOST_PER_PART + 17] = np.inf
    table = table.set_column(1, "x", pa.array(x))
    source = tmp_path / "in"
    source.mkdir()
    pq.write_table(table.slice(0, 1000), source / "a.parquet")
    pq.write_table(table.slice(1000), source / "b.parquet", row_group_size=20_000)
    plan = plan_of(generator, source, tmp_path / "out")
    with pytest.raises(Unusable, match=rf"b\.parquet: row {MOST_PER_PART + 17 - 1000}, column 'x' is infinite in float32"):
        require_points(plan, inputs_at(str(source)), list(range(plan.num_parts)))


def test_shards_with_other_columns_or_types_are_refused(tmp_path: Path) -> None:
    pq.write_table(a_table(5), tmp_path / "a.parquet")
    pq.write_table(a_table(5).rename_columns(["id", "x", "word", "z"]), tmp_path / "b.parquet")
    with pytest.raises(Unusable, match=r"b\.parquet has the columns id, x, word, z, and .*a\.parquet has id, x, word, y"):
        inputs_at(str(tmp_path))
    pq.write_table(a_table(5).set_column(1, "x", pa.array(["a"] * 5)), tmp_path / "b.parquet")
    with pytest.raises(Unusable, match=r"b\.parquet holds other types than .*a\.parquet"):
        inputs_at(str(tmp_path))


@pytest.mark.real
@pytest.mark.usefixtures("one_ray", "registered")
def test_one_worker_three_workers_and_a_job_that_lost_parts_give_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, one, three, again = (tmp_path / name for name in ("in.parquet", "one", "three", "again"))
    table = a_table()
    table = table.set_column(3, "y", pa.array(np.where(np.arange(NUM) == 4, 99.0, np.asarray(table["y"]))))
    pq.write_table(table, source, row_group_size=40_000)
    command = ["transport", "moons@candidate", "--from", str(source), "--seed", "5", "--to"]
    assert main([*command, str(one)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{NUM:,} points transported by moons version 1 in 4 files" in said
    assert f"1 of {NUM:,} points lies far outside the source: their distance to its mean" in said
    assert main([*command, str(three), "--cluster.num-workers", "3"]) == 0
    assert contents(one) == contents(three)
    again.mkdir()
    for name in ("part-000001.parquet", "part-000003.parquet"):
        (again / name).write_bytes((one / name).read_bytes())
    kept = (again / "part-000003.parquet").stat().st_mtime_ns
    sets.flip_a_byte(again / "part-000001.parquet")
    assert main([*command, str(again), "--cluster.num-workers", "2"]) == 0
    assert contents(again) == contents(one)
    assert (again / "part-000003.parquet").stat().st_mtime_ns == kept
    manifest = json.loads((one / MANIFEST).read_text())
    assert (manifest["num_samples"], manifest["far"], manifest["num_parts"]) == (NUM, 1, 4)


@pytest.mark.thorough
def test_a_job_that_is_stopped_goes_on_to_the_same_bytes(
    registered: MapRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, whole, stopped = (tmp_path / name for name in ("in.parquet", "whole", "stopped"))
    pq.write_table(a_table(20 * MOST_PER_PART), source)
    command = [sys.executable, "-m", "deploy", "transport", "moons@candidate", "--from", str(source), "--to"]
    environment = command_environment(Path(os.environ["SJKO_HOME"]))
    first = subprocess.Popen(
        [*command, str(stopped)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 200
    while not list(stopped.glob("part-*.parquet")):
        assert time.monotonic() < deadline
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=120)[0]
    assert first.returncode == 130, said
    assert "finished files are kept, and the same command goes on:" in said
    assert len(list(stopped.glob("part-*.parquet"))) < 20, "it was stopped in the middle"
    for folder in (stopped, whole):
        subprocess.run([*command, str(folder)], env=environment, check=True, capture_output=True)
    assert contents(stopped) == contents(whole)


@pytest.mark.thorough
@pytest.mark.usefixtures("s3_here", "ray_of_this_environment", "registered")
def test_points_come_from_s3_and_go_there(new_bucket: Callable[[], str]) -> None:
    bucket = new_bucket()
    files = fsspec.filesystem("s3")
    with files.open(f"{bucket}/in/a.parquet", "wb") as file:
        pq.write_table(a_table(300), file)
    command = ["transport", "moons@candidate", "--from", f"s3://{bucket}/in", "--to", f"s3://{bucket}/out"]
    assert main(command) == 0
    with files.open(f"{bucket}/out/part-000000.parquet") as file:
        assert pq.read_table(file)["id"].to_pylist() == a_table(300)["id"].to_pylist()


@pytest.mark.thorough
@pytest.mark.usefixtures("one_ray")
def test_an_earlier_phase_is_applied(registered: MapRef, shared_store: Store, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", points_of(100))
    command = ["transport", "moons@candidate", "--from", str(tmp_path / "in.npy"), "--to", str(tmp_path / "out")]
    assert main([*command, "--phase", "0"]) == 0
    first = load_generator(shared_store, shared_store.ancestors(registered)[0])
    moved = np.stack(pq.read_table(tmp_path / "out")["sample"].to_numpy())
    np.testing.assert_array_equal(moved, first.transport(points_of(100).astype(np.float32)))


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--from nowhere.npy --to out", ("there is no file", "nowhere.npy")),
        ("--from in.xlsx --to out", ("--from must end in one of .parquet", "in.xlsx")),
        ("--from empty.csv --to out", ("empty.csv has no rows",)),
        ("--from bad.csv --to out", ("bad.csv, row 3", "has 1 cells, and the first 2")),
        ("--from in.npy --to in.npy", ("--to must be a folder", "in.npy is a file")),
        ("--from . --to .", ("--to must be another folder than --from",)),
        ("--from in.npy --to out --phase 99", ("--phase must be below 2", "99")),
        ("--from in.npy --to out --condition label=3", ("--condition must be left out",)),
        ("--from in.npy --to out --cluster.num-workers 0", ("cluster.num_workers must be", "at least 1")),
        ("--from in.npy --to out --coordinates a b", ("in.npy has no column 'a'; it has sample",)),
        ("--from wide.npy --to out", ("and a point has 2",)),
        ("--from three.csv --to out", ("three.csv has 3 columns of numbers (n, x, y)", "--coordinates")),
    ],
)
@pytest.mark.usefixtures("registered")
def test_a_mistake_is_one_line_and_writes_nothing(
    words: str, parts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", points_of(10))
    np.save("wide.npy", np.zeros((10, 3)))
    for name, text in {"empty": "x,y\n", "bad": "x,y\n1,2\n3\n", "three": "n,x,y\n1,2,3\n"}.items():
        Path(f"{name}.csv").write_text(text)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["transport", "moons@candidate", *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in parts:
        assert part in error
    assert sorted(path.name for path in tmp_path.iterdir()) == before
