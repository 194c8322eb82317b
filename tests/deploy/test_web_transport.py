"""Points given to the service and transported: every form that they may come and go in, and what is refused."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from asgi import Answer, Client, answers_of
from flows import QUICK, tiny, train
from homes import home_of_file

from deploy.answers import Settings
from deploy.cli import main
from deploy.models import Models
from deploy.web import door
from deploy.web.app import web_app
from deploy.web.door import Access
from deploy.web.points import MOST_POINT_BYTES
from pipeline.generator import Generator

POINTS = np.random.default_rng(0).standard_normal((20, 2))
TABLE = pa.table({"id": [f"{number:03d}" for number in range(20)], "x": POINTS[:, 0], "y": POINTS[:, 1]})
MEDIA = {
    "arrow": "application/vnd.apache.arrow.stream",
    "csv": "text/csv",
    "npy": "application/x-npy",
    "parquet": "application/vnd.apache.parquet",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    with home_of_file(tmp_path_factory.mktemp("web")) as store:
        assert main(["register", train(tiny(num_steps=12, z_dim=2), store)[-1].ref.run_id, "--name", "moons", *QUICK]) == 0
        yield Models(store.uri, "moons", "1")


def client_of(models: Models, **settings: object) -> Client:
    answers = answers_of(models, Settings("", "moons", "1", **settings))
    return Client(web_app(answers, Access(None, ()), lambda status: None))


@pytest.fixture(scope="module")
def client(models: Models) -> Client:
    return client_of(models)


@pytest.fixture(scope="module")
def expected(models: Models) -> np.ndarray:
    return models.current.last.transport(POINTS.astype(np.float32), seed=3)


def sent(client: Client, body: object, **headers: str) -> Answer:
    return client.request("POST", "/v1/transport", json.dumps(body).encode(), content_type="application/json", **headers)


def file_sent(client: Client, kind: str, content: bytes, query: str = "seed=3", **headers: str) -> Answer:
    return client.request("POST", f"/v1/transport?{query}", content, content_type=MEDIA[kind], **headers)


def as_npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def as_arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def as_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def as_csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    return bytes(sink.getvalue())


WRITE: dict[str, Callable[[pa.Table], bytes]] = {"arrow": as_arrow, "parquet": as_parquet, "csv": as_csv}
READ: dict[str, Callable[[bytes], pa.Table]] = {
    "arrow": lambda content: pa.ipc.open_stream(content).read_all(),
    "parquet": lambda content: pq.read_table(io.BytesIO(content)),
    "csv": lambda content: pa.csv.read_csv(
        io.BytesIO(content), convert_options=pa.csv.ConvertOptions(column_types={"id": pa.string()})
    ),
}


def test_rows_of_json_come_back_as_rows(client: Client, expected: np.ndarray) -> None:
    answer = sent(client, {"rows": POINTS.tolist(), "seed": 3})
    assert answer.status == 200, answer.detail
    value = json.loads(answer.content)
    np.testing.assert_array_equal(np.float32(value["rows"]), expected)
    assert (value["shape"], value["version"], value["phase"], value["seed"], value["far"]) == ([20, 2], 1, 1, 3, 0)
    assert (answer.headers["x-seed"], answer.headers["x-far"]) == ("3", "0")


def test_columns_of_json_come_back_as_columns_with_the_others(client: Client, expected: np.ndarray) -> None:
    answer = sent(client, {"columns": TABLE.to_pydict(), "seed": 3})
    columns = json.loads(answer.content)["columns"]
    assert list(columns) == ["id", "x", "y"]
    assert columns["id"] == TABLE["id"].to_pylist()
    np.testing.assert_array_equal(np.float32([columns["x"], columns["y"]]).T, expected)
    turned = sent(client, {"columns": {"y": columns["y"], "x": columns["x"]}, "coordinates": ["x", "y"], "phase": -1})
    given = sent(client, {"columns": {"x": columns["x"], "y": columns["y"]}, "phase": -1})
    assert json.loads(turned.content)["columns"] == json.loads(given.content)["columns"]


@pytest.mark.parametrize("kind", WRITE)
@pytest.mark.parametrize("back", [None, *WRITE])
def test_files_come_back_as_they_came_or_as_is_asked_for(
    kind: str, back: str | None, client: Client, expected: np.ndarray
) -> None:
    answer = file_sent(client, kind, WRITE[kind](TABLE), **({} if back is None else {"accept": MEDIA[back]}))
    assert answer.status == 200, answer.detail
    assert answer.headers["content-type"].startswith(MEDIA[back or kind])
    moved = READ[back or kind](answer.content)
    assert moved.column_names == TABLE.column_names
    assert moved["id"].to_pylist() == TABLE["id"].to_pylist()
    np.testing.assert_array_equal(np.stack([moved["x"], moved["y"]], axis=1).astype(np.float32), expected)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8", "<f2"])
def test_arrays_of_any_precision_are_points(dtype: str, client: Client, models: Models) -> None:
    points = POINTS.astype(dtype)
    answer = file_sent(client, "npy", as_npy(points))
    expected = models.current.last.transport(points.astype(np.float32), seed=3)
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), expected)
    text = file_sent(client, "npy", as_npy(points), "seed=3&format=csv")
    assert text.content.splitlines()[0] == b'"0","1"'


def test_phases_versions_and_seeds_are_those_of_samples(client: Client, models: Models, expected: np.ndarray) -> None:
    given = file_sent(client, "npy", as_npy(POINTS), "phase=-1")
    ends = models.current.last.endpoints
    np.testing.assert_array_equal(np.load(io.BytesIO(given.content)), ends.to_units(POINTS.astype(np.float32)))
    first = np.load(io.BytesIO(file_sent(client, "npy", as_npy(POINTS), "seed=3&phase=0").content))
    phase = models.phase(models.current, 0)
    np.testing.assert_array_equal(first, phase.transport(POINTS.astype(np.float32), seed=3))
    by_alias = file_sent(client, "npy", as_npy(POINTS), "seed=3&version=candidate")
    np.testing.assert_array_equal(np.load(io.BytesIO(by_alias.content)), expected)
    drawn = [json.loads(sent(client, {"rows": POINTS.tolist()}).content) for _ in range(2)]
    assert drawn[0]["seed"] != drawn[1]["seed"]
    assert drawn[0]["rows"] != drawn[1]["rows"]


def test_row_i_gets_the_same_z_and_digits_whatever_follows(client: Client, expected: np.ndarray) -> None:
    for n in (1, 7, 8, 9):
        answer = file_sent(client, "npy", as_npy(POINTS[:n]))
        np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), expected[:n])


def test_more_rows_than_one_part_are_those_of_the_command(models: Models) -> None:
    points = np.random.default_rng(1).standard_normal((70_000, 2), dtype=np.float32)
    answer = file_sent(client_of(models), "npy", as_npy(points))
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), models.current.last.transport(points, seed=3))


def test_points_far_outside_are_counted(client: Client) -> None:
    answer = sent(client, {"rows": [[0, 0], [50, 0], [0, -50]]})
    assert json.loads(answer.content)["far"] == 2
    assert answer.headers["x-far"] == "2"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, 'the body must have either rows or columns, such as {"rows": [[0.5, -1]]}'),
        ({"rows": [[1, 2]], "columns": {"x": [1]}}, "the body must have either rows or columns"),
        ({"rows": []}, "rows has no rows"),
        ({"columns": {"x": [], "y": []}}, "the body has no rows"),
        ({"rows": [[1, 2], [3]]}, "rows must be lists of numbers, all of one length"),
        ({"rows": [1, 2]}, "rows must be lists of numbers, all of one length"),
        ({"rows": [["1", "2"]]}, "rows must be lists of numbers"),
        ({"rows": [[True, False]]}, "rows must be lists of numbers"),
        ({"rows": "x"}, 'rows must be a list, not "x"'),
        ({"rows": [[0, 1], [2, None]]}, "the body: row 1, column 'sample' is missing; 1 of 2 rows have such"),
        ({"rows": [[0, 1], [2, 1e300]]}, "the body: row 1, column 'sample' is infinite in float32"),
        ({"rows": [[10**400, 1]]}, "rows must be lists of numbers"),
        ({"rows": [[1, 2, 3]]}, "the body: column 'sample' has 3 numbers, and a point has 2"),
        ({"columns": [1]}, "columns must be an object, with a list for each column, not a list"),
        ({"columns": {"x": [1, 2], "y": [1]}}, "columns must have one length, not x 2, y 1"),
        ({"columns": {"x": [1, "a"], "y": [1, 2]}}, "columns: 'x' holds values of several kinds"),
        ({"columns": {"x": [1], "y": [2], "n": [3]}}, "a point has 2 coordinates: name those with coordinates"),
        ({"columns": {"x": [1], "y": [2]}, "coordinates": ["x", "z"]}, "the body has no column 'z'; it has x, y"),
        ({"columns": {"x": [1], "y": ["b"]}, "coordinates": ["x", "y"]}, "column 'y' holds string, and a flow takes numbers"),
        ({"rows": [[1, 2]], "seed": -1}, "seed must be at least 0, not -1"),
        ({"rows": [[1, 2]], "phase": 9}, "phase must be below 2, not 9"),
        ({"rows": [[1, 2]], "condition": 1}, "condition must be left out"),
        ({"rows": [[1, 2]], "steps": 1}, "steps is no field of a request; fields are rows, columns, coordinates, seed"),
        ({"rows": [[1, 2]], "format": "png"}, "format must be one of 'json', 'npy', 'arrow', 'csv' or 'parquet'"),
        ([1], "the body must be a JSON object such as"),
        (None, "the body must be a JSON object such as"),
    ],
)
def test_what_is_wrong_is_one_sentence(body: object, sentence: str, client: Client) -> None:
    answer = sent(client, body)
    assert answer.status == 422
    assert sentence in answer.detail


@pytest.mark.parametrize(
    ("kind", "content", "query", "refusal"),
    [
        ("npy", b"PK\x03\x04 a zip", "", (422, "the body is no .npy file")),
        ("npy", as_npy(POINTS)[:200], "", (422, "the body cannot be read")),
        ("npy", as_npy(np.zeros((0, 2))), "", (422, "the body has no rows")),
        ("npy", as_npy(np.zeros(3)), "", (422, "the body must hold numbers of shape (n, d)")),
        ("npy", as_npy(np.zeros((3, 2), bool)), "", (422, "the body must hold numbers of shape (n, d)")),
        ("arrow", b"nothing", "", (422, "the body is no Arrow file")),
        ("parquet", b"nothing", "", (422, "the body is no Parquet file")),
        ("parquet", as_parquet(TABLE)[:-20], "", (422, "the body is no Parquet file")),
        ("csv", b"x,y\n1,2\n3\n", "", (422, "the body, row 3")),
        ("csv", b"x,x\n1,2\n", "", (422, "two columns are called 'x'")),
        ("csv", b"x,y\n1,2\n1,\n", "", (422, "the body: row 1, column 'y' is missing")),
        ("csv", b"", "", (422, "the body is empty")),
        ("csv", b"x,y\n1,2\n", "steps=1", (422, "'steps' is no query parameter of /v1/transport")),
        (
            "csv",
            b"x,y\n1,2\n",
            "seed=x",
            (422, 'seed must be an integer, written without a point, an exponent or quotes, not "x"'),
        ),
        ("csv", b"x,y\n1,2\n", "seed=1&seed=2", (422, "seed must be given once")),
        ("csv", b"x,y\n1,2\n", "version=nobody", (404, "moons has no version nobody")),
        ("csv", b"x,y\n1,2\n", "coordinates=x,z", (422, "the body has no column 'z'")),
    ],
)
def test_a_file_that_is_none_is_one_sentence(
    kind: str, content: bytes, query: str, refusal: tuple[int, str], client: Client
) -> None:
    answer = file_sent(client, kind, content, query)
    assert answer.status == refusal[0]
    assert refusal[1] in answer.detail


def test_limits_are_those_of_samples_and_of_what_a_body_may_hold(models: Models, client: Client) -> None:
    few = client_of(models, max_samples=5)
    for answer in (file_sent(few, "npy", as_npy(POINTS)), file_sent(few, "parquet", as_parquet(TABLE))):
        assert (answer.status, answer.detail) == (413, "there must be at most 5 rows, not 20")
    answer = client.request("POST", "/v1/transport", b"x", content_type="text/csv", content_length=str(MOST_POINT_BYTES + 1))
    assert (answer.status, answer.detail) == (413, f"the body must have at most {MOST_POINT_BYTES} bytes")
    zeros = as_parquet(pa.table({"x": np.zeros(20), "y": np.zeros(20), "words": [("a" * 10**5)] * 20}))
    assert len(zeros) < MOST_POINT_BYTES
    assert file_sent(client, "parquet", zeros).status == 200
    for wrong in ("application/octet-stream", "text/plain", "multipart/form-data", ""):
        answer = client.request("POST", "/v1/transport", b"x", content_type=wrong)
        assert answer.status == 415
        assert "text/csv" in answer.detail
    assert client.request("POST", "/v1/samples", b"x,y\n1,2\n", content_type="text/csv").status == 415
    assert sent(client, {"rows": [[1, 2]]}, accept="image/png").status == 406
    assert client.request("GET", "/v1/transport").status == 405
    assert client.request("POST", "/v1/transport?seed=3", b'{"rows": [[1, 2]]}', content_type="application/json").status == 422


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("write", [pa.ipc.new_stream, pa.ipc.new_file])
def test_packed_arrow_is_read_and_what_would_unpack_to_gigabytes_is_not(
    compression: str, write: Callable[..., Any], client: Client, expected: np.ndarray
) -> None:
    def packed_as(table: pa.Table) -> bytes:
        sink = pa.BufferOutputStream()
        with write(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())

    answer = file_sent(client, "arrow", packed_as(TABLE), "seed=3&format=npy")
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), expected)
    zeros = pa.array(np.zeros(2**20))
    wide = packed_as(pa.table({f"x{number}": zeros for number in range(20)}))
    assert len(wide) < MOST_POINT_BYTES
    answer = file_sent(client, "arrow", wide)
    assert answer.status == 413
    assert f"the body must unpack to at most {16 * MOST_POINT_BYTES} bytes, not 16777" in answer.detail
    words = pa.array(["a" * 2**24] * 10).dictionary_encode()
    assert file_sent(client, "arrow", packed_as(pa.table({"words": words, "x": np.zeros(10)}))).status == 422
    words = pa.array(["a" * 2**24 + str(number) for number in range(10)]).dictionary_encode()
    assert file_sent(client, "arrow", packed_as(pa.table({"words": words}))).status == 413


def test_a_damaged_packed_stream_is_one_sentence(client: Client) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TABLE.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(TABLE)
    whole, rng = bytes(sink.getvalue()), np.random.default_rng(0)
    for place in rng.integers(len(whole), size=150):
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        answer = file_sent(client, "arrow", bytes(content))
        assert answer.status in (200, 413, 422)


def test_bodies_in_hand_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_HELD_BYTES", 10)
    assert sent(client, {"rows": [[1, 2]]}).status == 200, "one may exceed the bound, and leaves nothing behind"
    assert sent(client, {"rows": [[1, 2]]}).status == 200


def test_the_documentation_tells_every_form(client: Client) -> None:
    operation = json.loads(client.get("/openapi.json").content)["paths"]["/v1/transport"]["post"]
    content = operation["requestBody"]["content"]
    assert set(content) == {"application/json", *MEDIA.values()}
    assert set(content["application/json"]["schema"]["properties"]) >= {"rows", "columns", "coordinates", "seed", "phase"}
    assert {each["name"] for each in operation["parameters"] if each["in"] == "query"} == door.PARAMETERS["/v1/transport"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", *MEDIA.values()}


@pytest.mark.slow
def test_conditions_are_given_or_drawn_and_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    with home_of_file(tmp_path_factory.mktemp("circles")) as store:
        recipe = tiny(num_phases=1, num_steps=5, target="two_circles", condition="mode")
        assert main(["register", train(recipe, store)[-1].ref.run_id, "--name", "circles", *QUICK]) == 0
        models = Models(store.uri, "circles", "1")
        client, generator = Client(web_app(answers_of(models, Settings("", "circles", "1")), Access(None, ()), print)), models
    last: Generator = generator.current.last
    given = json.loads(sent(client, {"rows": POINTS.tolist(), "seed": 3, "condition": "1"}).content)
    np.testing.assert_array_equal(np.float32(given["rows"]), last.transport(POINTS.astype(np.float32), 3, "1"))
    assert "condition" not in given
    drawn = json.loads(sent(client, {"rows": POINTS.tolist(), "seed": 3}).content)
    np.testing.assert_array_equal(np.float32(drawn["rows"]), last.transport(POINTS.astype(np.float32), 3))
    assert set(drawn["condition"]) == {0, 1}
    table = READ["parquet"](file_sent(client, "parquet", as_parquet(TABLE)).content)
    assert table["condition"].to_pylist() == drawn["condition"]
    answer = file_sent(client, "csv", b"x,y,condition\n1,2,0\n", "coordinates=x,y")
    assert answer.status == 422
    assert "rename it, or give condition" in answer.detail
