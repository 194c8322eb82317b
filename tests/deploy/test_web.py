"""What the service's HTTP side reads of a request, in this process, without Ray: values, versions, seeds; and what it answers."""

import io
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from asgi import JSON, Client, Service, raw

from deploy.web import bodies
from pipeline.data.source import Samples
from pipeline.generator import Generator, Noise

LARGEST = 9_007_199_254_740_991  # Number.MAX_SAFE_INTEGER of ECMAScript


def test_a_body_without_its_header_is_told_the_header(client: Client) -> None:
    for sent in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "image/svg+json", "json", ""):
        answer = raw(client, b'{"num_samples": 5}', content_type=sent)
        assert (answer.status, answer.headers["connection"]) == (415, "close")
        for part in (
            "Content-Type: application/json",
            """curl -H 'Content-Type: application/json' -d '{"num_samples": 5}'""",
            sent,
        ):
            assert part in answer.detail
    assert client.request("POST", "/v1/samples", b"{}").status == 415, "none at all is what a page of another site may send"
    for sent in ("application/json; charset=utf-8", "Application/JSON; charset=UTF8", "application/vnd.api+json"):
        assert raw(client, b'{"num_samples": 5}', content_type=sent).status == 200
    assert raw(client, b"{}", content_type="application/json; charset=latin-1").status == 415


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ("but it is empty", '{"num_samples": 5}')),
        (b"{", ("line 1, column 2", "the body ends there")),
        (b'{"num_samples": 5,\n "seed": }', ("line 2, column 10", "Expecting value", '"}"')),
        (b"{'num_samples': 5}", ("line 1, column 2", "double quotes")),
        (b"{num_samples: 5}", ("line 1, column 2", '"num_samples: 5}"')),
        (b"num_samples=5", ("line 1, column 1", "Expecting value")),
        (b'{"seed": 1} x', ("line 1, column 13", "Extra data")),
        (b'{"seed": 01}', ("line 1, column 11",)),
        (b'{"seed": "a\x01"}', ("line 1, column 12", "control character")),
        (b'{"seed": \xff}', ("0xff at position 9", "UTF-8")),
        ('{"seed": 1}'.encode("utf-16"), ("UTF-8", "position 0")),
        (b'{"seed": 1, "seed": 2}', ('"seed" twice',)),
        (b'{"seed": 1, "s\\u0065ed": 1}', ('"seed" twice',)),
        (b'{"a": {"b": 1, "b": 1}}', ('"b" twice',)),
        (b'{"seed": NaN}', ("NaN",)),
        (b'{"seed": -Infinity}', ("-Infinity",)),
        (b"[" * 60_000, ("nested too deeply",)),
        (b'{"a":' * 10_000, ("nested too deeply",)),
        (b'{"seed": ' + b"1" * 5_000 + b"}", ("too many digits",)),
    ],
)
def test_what_is_not_json_is_told_where(client: Client, content: bytes, parts: tuple[str, ...]) -> None:
    answer = raw(client, content)
    assert answer.status == (400 if content else 422)
    for part in parts:
        assert part in answer.detail


def test_a_byte_order_mark_is_no_mistake(client: Client) -> None:
    assert raw(client, b'\xef\xbb\xbf{"num_samples": 5}').status == 200


INTEGER = "must be an integer, written without a point, an exponent or quotes, not "


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"num_samples": 0}, "num_samples must be at least 1, not 0"),
        ({"num_samples": -5}, "num_samples must be at least 1, not -5"),
        ({"num_samples": 1.5}, f"num_samples {INTEGER}1.5"),
        ({"num_samples": 5.0}, f"num_samples {INTEGER}5.0"),
        ({"num_samples": "5"}, f'num_samples {INTEGER}"5"'),
        ({"num_samples": True}, f"num_samples {INTEGER}true"),
        ({"num_samples": None}, f"num_samples {INTEGER}null"),
        ({"num_samples": [1] * 99}, f"num_samples {INTEGER}a list"),
        ({"num_samples": {"a": 1}}, f"num_samples {INTEGER}an object"),
        ({"num_samples": "\ud800"}, f'num_samples {INTEGER}"\\ud800"'),
        ({"seed": "x" * 999}, f'seed {INTEGER}"{"x" * 79}...'),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"seed": LARGEST + 1}, f"seed must be at most {LARGEST}, not {LARGEST + 1}"),
        ({"seed": False}, f"seed {INTEGER}false"),
        ({"phase": -2}, "phase must be at least -1, not -2"),
        ({"phase": 2}, "phase must be below 2, not 2"),
        ({"phase": "1"}, f'phase {INTEGER}"1"'),
        ({"version": "../x"}, 'version must be an alias or the number of a version, not "../x"'),
        ({"version": ""}, 'version must be an alias or the number of a version, not ""'),
        ({"version": -1}, "version must be an alias or the number of a version, not -1"),
        ({"version": 10**9}, "version must be an alias or the number of a version, not 1000000000"),
        ({"version": "007"}, 'version must be an alias or the number of a version, not "007"'),
        ({"version": 1.0}, "version must be an alias or the number of a version, not 1.0"),
        ({"version": True}, "version must be an alias or the number of a version, not true"),
        ({"version": [1]}, "version must be an alias or the number of a version, not a list"),
        ({"version": 999}, "moons has no version 999; GET /v1/model tells its aliases"),
        ({"version": "999"}, "moons has no version 999; GET /v1/model tells its aliases"),
        ({"version": 0}, "moons has no version 0; GET /v1/model tells its aliases"),
        ({"format": "exe"}, """format must be one of 'json', 'npy', 'arrow' or 'png', not "exe\""""),
        ({"steps": 3}, "steps is no field of a request; fields are num_samples, seed, version, phase, condition, format"),
        (
            {"num samples\n": 3},
            '"num samples\\n" is no field of a request; fields are num_samples, seed, version, phase, condition, format',
        ),
        ({"\ud800": 3}, 'the body must be a JSON object such as {"num_samples": 5}, not "\\ud800"'),
        ([1, 2], 'the body must be a JSON object such as {"num_samples": 5}, not a list'),
        (7, 'the body must be a JSON object such as {"num_samples": 5}, not 7'),
        ("x", 'the body must be a JSON object such as {"num_samples": 5}, not "x"'),
        (None, 'the body must be a JSON object such as {"num_samples": 5}, not null'),
    ],
)
def test_a_wrong_value_is_told_with_its_field_and_rule(client: Client, body: object, sentence: str) -> None:
    answer = client.post(body)
    assert answer.detail == sentence
    assert answer.status == (404 if "has no version" in sentence else 422)


def test_numbers_with_an_exponent_are_no_integers(client: Client) -> None:
    assert raw(client, b'{"num_samples": 1e3}').detail == f"num_samples {INTEGER}1000.0"
    assert raw(client, b'{"num_samples": 1e999}').status == 422
    assert client.post({"num_samples": 10**9}).detail == "num_samples must be at most 100000, not 1000000000"


def test_a_version_is_asked_for_as_answers_give_it(client: Client) -> None:
    given = client.post({"seed": 1}).json()["version"]
    assert given == 1
    for version in (given, str(given)):
        assert client.post({"seed": 1, "version": version}).json()["version"] == given
        assert client.get(f"/v1/model?version={version}").json()["version"] == given
    assert client.post({"seed": 1, "version": "candidate"}).json()["version"] == given


def test_every_seed_of_an_answer_is_exact_in_javascript(client: Client, app: Service) -> None:
    answer = client.post({"seed": LARGEST})
    assert (answer.json()["seed"], answer.headers["x-seed"]) == (LARGEST, str(LARGEST))
    assert int(float(LARGEST)) == LARGEST
    drawn = [client.post({}).json()["seed"] for _ in range(5)]
    assert len(set(drawn)) == 5
    assert max(drawn) <= LARGEST
    properties = client.get("/openapi.json").json()["components"]["schemas"]["SampleRequest"]["properties"]
    assert {"type": "integer", "minimum": 0, "maximum": LARGEST} in properties["seed"]["anyOf"]
    assert "2^53 - 1" in properties["seed"]["description"]
    assert [kind["type"] for kind in properties["version"]["anyOf"]] == ["integer", "string", "null"]
    assert f'max="{LARGEST}"' in client.get("/").content.decode()


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/v1/model?version=1&version=2", ("version must be given once, not 2 times",)),
        ("/v1/model?version=1&version=1", ("given once",)),
        ("/v1/model?version=1&colour=red", ("'colour' is no query parameter of /v1/model, which takes version",)),
        ("/v1/model?Version=1", ("'Version'",)),
        ("/v1/model?%76ersion=1&version=2", ("given once",)),
        ("/v1/model?version=", ("version must be an alias or the number",)),
        ("/v1/model?version", ("version must be an alias or the number",)),
        ("/v1/model?version=1%00", ("version must be an alias or the number",)),
        ("/v1/model?version=%ff", ("version must be an alias or the number",)),
        ("/v1/model?\ud7ff=1", ("no query parameter",)),
    ],
)
def test_query_parameters_are_known_and_given_once(client: Client, target: str, parts: tuple[str, ...]) -> None:
    answer = client.get(target)
    assert answer.status == 422
    for part in parts:
        assert part in answer.detail


def test_fields_in_the_url_are_not_silently_left_out(client: Client) -> None:
    answer = client.request("POST", "/v1/samples?num_samples=5", b"{}", **JSON)
    assert (answer.status, "'num_samples'" in answer.detail, "JSON body" in answer.detail) == (422, True, True)


def test_numbers_that_are_not_finite_are_never_sent(client: Client, app: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def push(generator: Generator, noise: Noise) -> Samples:
        return np.full((len(noise.x), 2), np.nan, np.float32)

    monkeypatch.setattr(app.answers, "push", push)
    for form in ("json", "npy", "arrow", "png"):
        answer = client.post({"seed": 3, "format": form})
        assert (answer.status, "not finite from seed 3" in answer.detail) == (500, True)


def test_what_is_too_late_or_too_much_is_refused(client: Client, app: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.answers, "settings", replace(app.answers.settings, time_limit_seconds=0.05))
    real = app.answers.push

    def push(generator: Generator, noise: Noise) -> Samples:
        time.sleep(0.3)
        return real(generator, noise)

    with monkeypatch.context() as patch:
        patch.setattr(app.answers, "push", push)
        answer = client.post({})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    monkeypatch.setattr(app.answers, "settings", replace(app.answers.settings, max_waiting=0, time_limit_seconds=30))
    assert client.post({}).status == 429
    assert (app.answers.waiting, app.answers.values) == (0, 0)


def test_samples_come_in_the_format_that_is_asked_for(client: Client) -> None:
    as_array = np.load(io.BytesIO(client.post({"num_samples": 4, "seed": 2, "format": "npy"}).content), allow_pickle=False)
    as_json = client.post({"num_samples": 4, "seed": 2}).json()
    np.testing.assert_array_equal(np.float32(as_json["samples"]), as_array)
    assert client.post({}, accept="text/html").status == 406


def test_the_fields_of_a_request_are_explained(client: Client) -> None:
    schema = client.get("/openapi.json").json()
    properties = schema["components"]["schemas"]["SampleRequest"]["properties"]
    assert properties.keys() == bodies.SampleRequest.model_fields.keys()
    assert all(value["description"] for value in properties.values())
    assert json.loads(bodies.EXAMPLE) == {"num_samples": 5}
