"""Paths and URLs as users write them: what they mean, and what is refused with the name, the rule and the value."""

import json
import math
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from deploy import cli as deploy
from pipeline import places
from pipeline.cluster import Cluster, checkpoints, data, tracking_uri, validate
from pipeline.command import cli
from pipeline.files import write_json
from pipeline.places import Database, Place
from pipeline.recipe import Recipe
from pipeline.store.experiment import local_path
from pipeline.store.phases import Store
from tune import cli as tune
from tune.definition import Search
from tune.flags import optuna_url
from tune.studies import study_of

Reader = Callable[[str, str], str | Path]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a home of its user beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "sjko"))
    return folder


MEANT = {
    (places.place, "sets"): "{here}/sets",
    (places.place, " sets\n"): "{here}/sets",
    (places.place, "/data/my sets"): "/data/my sets",
    (places.place, "~"): "{me}",
    (places.place, "~/sets"): "{me}/sets",
    (places.place, "~root/sets"): "/root/sets",
    (places.place, "./~sets"): "{here}/~sets",
    (places.place, "a::b"): "{here}/a::b",
    (places.place, "10:30"): "{here}/10:30",
    (places.place, "out[1]?*%20#x"): "{here}/out[1]?*%20#x",
    (places.place, "a@b$"): "{here}/a@b$",
    (places.place, "file:sets"): "{here}/sets",
    (places.place, "file://sets/x"): "{here}/sets/x",
    (places.place, "file:///data/my%20sets"): "/data/my sets",
    (places.place, "FILE:/data/x"): "/data/x",
    (places.place, "file://localhost/data/x"): "/data/x",
    (places.place, "file://~/x"): "{me}/x",
    (places.place, "local:///data/x"): "/data/x",
    (places.place, "s3://bucket/sets/"): "s3://bucket/sets",
    (places.place, "S3://Bucket/a%20b@c"): "s3://Bucket/a%20b@c",
    (places.place, "gs://bucket"): "gs://bucket",
    (places.place, "hdfs:///data"): "hdfs:///data",
    (places.source, "weights.pth"): "{here}/weights.pth",
    (places.source, "https://host/weights.pth?v=1"): "https://host/weights.pth?v=1",
    (places.source, "s3://bucket/weights.pth"): "s3://bucket/weights.pth",
    (places.path, "~/x.json"): "{me}/x.json",
    (places.path, "file:///x/y.json"): "/x/y.json",
    (places.tracking, "http://mlflow:5000"): "http://mlflow:5000",
    (places.tracking, " https://mlflow:5000/\n"): "https://mlflow:5000",
    (places.tracking, "HTTP://mlflow:5000/#/experiments/0?searchFilter=x"): "http://mlflow:5000",
    (places.tracking, "https://host/behind/a/proxy/?o=1#/models"): "https://host/behind/a/proxy",
    (places.tracking, "http://me:p%40ss@[::1]:5000/"): "http://me:p%40ss@[::1]:5000",
    (places.tracking, "sqlite:///db/x.db"): "sqlite:///{here}/db/x.db",
    (places.tracking, "sqlite:////data/my%20runs/x.db"): "sqlite:////data/my runs/x.db",
    (places.tracking, "SQLITE:///~/x.db"): "sqlite:///{me}/x.db",
    (places.tracking, "sqlite:////data/a%3Fb.db"): "sqlite:///%2Fdata%2Fa%3Fb.db",
    (places.database, "postgresql://me:p%40ss@db:5432/optuna"): "postgresql://me:p%40ss@db:5432/optuna",
    (places.database, "postgresql+psycopg:///optuna?host=/run/postgresql"): "postgresql+psycopg:///optuna?host=/run/postgresql",
    (places.database, "sqlite:///optuna.db"): "sqlite:///{here}/optuna.db",
}


@pytest.mark.parametrize(("read", "written"), MEANT, ids=lambda each: each if isinstance(each, str) else each.__name__)
def test_what_a_user_writes_means(read: Reader, written: str, here: Path) -> None:
    meant = MEANT[read, written].replace("{here}", str(here)).replace("{me}", str(here.parent / "me"))
    assert str(read("--to", written)) == meant
    assert str(read("--to", meant)) == meant, "reading it again changes nothing"


REFUSED = {
    (places.place, ""): "must not be empty",
    (places.place, " \n"): "must not be empty",
    (places.place, "a\nb"): "one line",
    (places.place, "a\0b"): "one line",
    (places.place, "'/data'"): "without the quotes",
    (places.place, '"s3://bucket"'): "without the quotes",
    (places.place, "s3://"): "s3://BUCKET/PATH",
    (places.place, "s3:///x"): "s3://BUCKET/PATH",
    (places.place, "s3:/x"): "s3://BUCKET/PATH",
    (places.place, "s3:x"): "s3://BUCKET/PATH",
    (places.place, "s3://../x"): "s3://BUCKET/PATH",
    (places.place, "s3:// bucket/x"): "s3://BUCKET/PATH",
    (places.place, "gs://"): "gs://BUCKET/PATH",
    (places.place, "sftp:///x"): "sftp://HOST/PATH",
    (places.place, "hdfs://"): "hdfs://HOST/PATH",
    (places.place, "s3://$BUCKET/x"): "holds $BUCKET",
    (places.place, "${DATA}/x"): "holds ${DATA}",
    (places.place, "/data/$(date)"): "holds $(date)",
    (places.place, "memory://x"): "where what is written stays",
    (places.place, "memory:x"): "where what is written stays",
    (places.place, "simplecache::s3://bucket"): "where what is written stays",
    (places.place, "zip://x.zip"): "where what is written stays",
    (places.place, "data:,x"): "where what is written stays",
    (places.place, "https://host/x"): "where what is written stays",
    (places.place, "foo://x"): "a URL that fsspec knows",
    (places.place, "file:"): "must not be empty",
    (places.place, "file://"): "must not be empty",
    (places.place, "file:///a%00b"): "one line",
    (places.place, "~nobody-here/x"): "a user that this machine does not have",
    (places.place, "C:\\data"): "with /",
    (places.place, "c:/data"): "with /",
    (places.place, "file:///C:/data"): "with /",
    (places.place, "\\\\server\\share"): "with /",
    (places.place, "data\\sets"): "with /",
    (places.place, "/dev/null/x"): "/dev/null is a file",
    (places.path, "s3://bucket/x.json"): "a path of this machine",
    (places.path, "foo://x"): "a path of this machine",
    (places.source, "memory://x"): "where what is written stays",
    (places.tracking, ""): "must not be empty",
    (places.tracking, "http://host:5000 "[:-1] + " x"): "like http://HOST:PORT",
    (places.tracking, "http://host:99999"): "a port from 1 to 65535",
    (places.tracking, "http://host:0"): "like http://HOST:PORT",
    (places.tracking, "http://host:abc"): "a port from 1 to 65535",
    (places.tracking, "http://"): "like http://HOST:PORT",
    (places.tracking, "http://:5000"): "like http://HOST:PORT",
    (places.tracking, "http://[::1:5000"): "a port from 1 to 65535",
    (places.tracking, "http://$HOST:5000"): "holds $HOST",
    (places.tracking, "mlflow:5000"): "write http://mlflow:5000",
    (places.tracking, "localhost"): "write http://localhost",
    (places.tracking, "ftp://host"): "start with one of http://, https://, sqlite:///",
    (places.tracking, "/data/mlflow.db"): "start with one of http://, https://, sqlite:///",
    (places.tracking, "sqlite://"): "sqlite:///FILE",
    (places.tracking, "sqlite:///"): "sqlite:///FILE",
    (places.tracking, "sqlite:///:memory:"): "sqlite:///FILE",
    (places.tracking, "sqlite:///%3Amemory:"): "sqlite:///FILE",
    (places.tracking, "sqlite:///file::memory:?cache=shared"): "sqlite:///FILE",
    (places.tracking, "sqlite:///x.db?timeout=5"): "sqlite:///FILE",
    (places.tracking, "sqlite://host/x.db"): "sqlite:///FILE",
    (places.tracking, "sqlite:x.db"): "sqlite:///FILE",
    (places.tracking, "sqlite:////"): "sqlite:///FILE",
    (places.tracking, "sqlite:////dev"): "a folder",
    (places.database, "sqlite:///:memory:"): "sqlite:///FILE",
    (places.database, "mysql://host/x"): "start with sqlite:/// or postgresql://",
    (places.database, "postgresql://host:abc/x"): "start with sqlite:/// or postgresql://",
    (places.database, "postgresql://host:99999/x"): "start with sqlite:/// or postgresql://",
    (places.database, "postgresql://host"): "name a database",
    (places.database, "optuna.db"): "start with sqlite:/// or postgresql://",
}


@pytest.mark.parametrize(("read", "written"), REFUSED, ids=lambda each: repr(each) if isinstance(each, str) else each.__name__)
@pytest.mark.usefixtures("here")
def test_what_cannot_be_meant_is_refused(read: Reader, written: str) -> None:
    with pytest.raises(ValueError, match=r"^--to ") as refused:
        read("--to", written)
    assert REFUSED[read, written] in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "written",
    [
        "http://me:sec/ret@host:5000",
        "http://me:secret@host:abc",
        "me:secret@mlflow:5000",
        "http://me:s ecret@host",
        "'http://me:secret@h'",
    ],
)
def test_a_password_is_never_said_again(written: str) -> None:
    for read in (places.tracking, places.database):
        with pytest.raises(ValueError, match="--to") as refused:
            read("--to", written)
        assert "ret" not in str(refused.value)


def test_what_stands_there_is_no_variable(here: Path) -> None:
    (here / "$x").mkdir()
    assert places.place("--to", "$x") == str(here / "$x")


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1, max_size=20)


@pytest.mark.slow
@settings(deadline=None)
@given(name=NAMES.filter(lambda name: name not in (".", "..")))
def test_the_sqlite_url_of_any_file_opens_that_file(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("any") / f"{name}.db"
    url = places.sqlite_url(file)
    assert places.sqlite_file(url) == file
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("create table t (x integer)"))
    engine.dispose()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("name", ["a?b", "a%3Fb", "a%41 b", "a#b", "[x]", "{y}", "ü ö", "a'b", 'a"b', "a::b", "a&b=c+d"])
def test_mlflow_keeps_to_a_home_of_any_name(name: str, here: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", name)
    assert places.home() == here / name
    places.home().mkdir()
    shutil.copy(migrated, places.home() / "mlflow.db")
    store = Store(tracking_uri(Cluster()))
    run_id = store.create("x", {}, {})
    with store.artifact_file(run_id, "x.txt", "phase") as path:
        path.write_text("kept")
    (kept,) = (here / name / "artifacts").rglob("x.txt")
    assert kept.read_text() == "kept"
    assert local_path(store.artifact_uri(run_id)) / "phase" / "x.txt" == kept
    with closing(sqlite3.connect(here / name / "mlflow.db")) as database:
        assert database.execute("select run_uuid from runs").fetchall() == [(run_id,)]
    assert [path.name for path in here.iterdir()] == [name], "and nothing beside it"


@pytest.mark.parametrize("name", ["a?b", "a%41 b", "{y}"])
def test_optuna_keeps_to_a_home_of_any_name(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", name)
    places.home().mkdir()
    with study_of(Search("s", Recipe(), (), 1), optuna_url(None), create=True):
        pass
    assert [path.relative_to(here) for path in here.rglob("*")] == [Path(name), Path(name, "optuna.db")]


def test_a_command_s_places_are_read_by_the_types_of_their_flags(here: Path) -> None:
    @dataclass(frozen=True)
    class Inner:
        data: Place | None = None
        size: int = 0

    @dataclass(frozen=True)
    class Outer:
        to: Place
        name: str
        from_: Path | None = None
        storage: Database | None = None
        inner: Inner = field(default_factory=Inner)

    read = places.resolved(Outer("out", "~", Path("~/x"), None, Inner("sets", 3)))
    assert read == Outer(str(here / "out"), "~", here.parent / "me" / "x", None, Inner(str(here / "sets"), 3))
    with pytest.raises(ValueError, match=r"^inner\.data must"):
        places.resolved(Outer("out", "~", inner=Inner("memory://x")))
    with pytest.raises(ValueError, match=r"^--from must"):
        places.resolved(Outer("out", "~", from_=Path("s3://x")))


COMMANDS = {
    "list --json=": "--json must not be empty",
    "list --json s3://bucket/x": "--json must be a path of this machine",
    "list --store.tracking-uri mlflow:5000": "store.tracking_uri must start with",
    "run moons --store.data memory://x": "store.data must be",
    "run moons --store.checkpoints s3://": "store.checkpoints must be",
    "run s3://bucket/x.yaml": "RECIPE must be a path of this machine",
    "evaluate abcdefgh --weights memory://x": "--weights must be",
    "prepare mnist --from  --to x": "--from must not be empty",
    "prepare mnist --from . --to s3:///x": "--to must be",
    "prepare mnist --from . --to memory://x": "--to must be",
    "status --dashboard head:8265": "--dashboard must start with one of http://, https://, not 'head:8265': write http://head:8265",
}


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.usefixtures("here")
def test_the_pipeline_refuses_in_one_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(cli.main(words.split(" ")), COMMANDS[words], capsys)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--to", "s3://"], "--to must be"),
        (["--to", "memory://x"], "--to must be"),
        (["--to", "x", "--store.data", "s3:x"], "store.data must be"),
        (["--to", "x", "--store.tracking-uri", "http://host:99999"], "store.tracking_uri must be"),
        (["--to", "/dev/null/x"], "--to must be a folder"),
    ],
)
@pytest.mark.usefixtures("here")
def test_deploy_refuses_in_one_line(flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(deploy.main(["generate", "moons@candidate", "--num-samples", "5", *flags]), says, capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("run moons --store.optuna sqlite:///:memory:", "store.optuna must be"),
        ("resume moons --store.optuna sqlite:///x?y", "store.optuna must be"),
        ("best moons --to s3://bucket/x.yaml", "--to must be a path of this machine"),
        ("resume moons --store.tracking-uri http://[::1", "store.tracking_uri must be"),
    ],
)
@pytest.mark.usefixtures("here")
def test_tune_refuses_in_one_line(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(tune.main(words.split()), says, capsys)


@pytest.mark.parametrize("variable", ["SJKO_HOME", "SJKO_DATA", "SJKO_CHECKPOINTS", "SJKO_TRACKING_URI", "SJKO_OPTUNA_STORAGE"])
@pytest.mark.parametrize("value", ["", "memory://x", "$UNSET/x"])
@pytest.mark.usefixtures("here")
def test_variables_are_read_as_flags_are(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert_refused(tune.main(["run", "moons"]), f"${variable} ", capsys)


def test_a_home_that_is_no_folder_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_HOME", "/dev/null/x")
    assert_refused(cli.main(["list"]), "$SJKO_HOME must be a folder, not '/dev/null/x': /dev/null is a file", capsys)


def test_fields_and_variables_of_a_cluster_are_absolute(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", "~/sjko")
    monkeypatch.setenv("SJKO_DATA", "sets")
    assert places.home() == here.parent / "me" / "sjko"
    assert data(Cluster()) == str(here / "sets")
    assert checkpoints(Cluster()) == str(here.parent / "me" / "sjko" / "checkpoints")
    cluster = Cluster(tracking_uri="sqlite:///db/mlflow.db", checkpoints="s3://bucket/runs/", data="file://sets")
    validate(cluster)
    assert (tracking_uri(cluster), checkpoints(cluster)) == (f"sqlite:///{here}/db/mlflow.db", "s3://bucket/runs")
    assert data(cluster) == str(here / "sets")


def assert_refused(code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = capsys.readouterr().err
    assert code == 2, error
    assert error.startswith(f"error: {says}")
    assert error.count("\n") == 1


def test_a_result_is_written_through_a_link_and_into_a_pipe_and_by_several_at_once(tmp_path: Path) -> None:
    file, link, pipe = (tmp_path / name for name in ("result.json", "link.json", "pipe"))
    file.write_text("old")
    link.symlink_to(file)
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert json.loads(file.read_text()) == {"a": 1}
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_json(pipe, [2])
    assert json.loads(os.read(reader, 100)) == [2]
    os.close(reader)
    threads = [threading.Thread(target=write_json, args=(file, [number] * 10_000)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(json.loads(file.read_text()))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "pipe", "result.json"]


def test_results_are_json_that_every_reader_takes(tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no number of JSON")

    result = {"h": math.inf, "w2": [math.nan, (-math.inf, 1.5)], "name": "inf", "n": 3, "none": None, "np": np.float64("nan")}
    write_json(tmp_path / "result.json", result)
    found = json.loads((tmp_path / "result.json").read_text(), parse_constant=refuse)
    assert found == {"h": "inf", "w2": ["nan", ["-inf", 1.5]], "name": "inf", "n": 3, "none": None, "np": "nan"}
