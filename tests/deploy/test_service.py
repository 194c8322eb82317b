"""The service through HTTP: formats, seeds, refusals, and promotions under load without a failed request."""

import contextlib
import http.client
import importlib
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import picture_sets as sets
import psutil
import pyarrow as pa
import pytest
import requests
import yaml
from flows import QUICK, ROOT, tiny, train
from live_service import TOKEN, Service
from PIL import Image
from ray.serve.schema import ServeDeploySchema

from deploy.access import is_loopback, token_of
from deploy.cli import main
from deploy.models import Draw, Models, draw
from deploy.web import wire
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.command import cli
from pipeline.errors import FlowError
from pipeline.generator import blocks, load_generator
from pipeline.store.phases import Store

WRONG_HEADERS = [None, "", "Bearer", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e9"]


def test_every_format_holds_the_same_samples(service: Service) -> None:
    expected = service.samples(num_samples=40, seed=5)
    assert expected.shape == (40, 2)
    assert expected.dtype == np.float32
    response = service.post({"num_samples": 40, "seed": 5})
    assert response.headers["Content-Type"] == "application/json"
    value = response.json()
    np.testing.assert_array_equal(np.array(value["samples"], dtype=np.float32), expected)
    assert (value["shape"], value["seed"], value["phase"]) == ([40, 2], 5, 1)
    response = service.post({"num_samples": 40, "seed": 5}, Accept=wire.MEDIA_TYPES["arrow"])
    column = pa.ipc.open_stream(response.content).read_all().column("sample").combine_chunks()
    np.testing.assert_array_equal(np.asarray(column.flatten()).reshape(-1, 2), expected)
    picture = Image.open(io.BytesIO(service.post({"num_samples": 40, "seed": 5}, Accept="image/png").content))
    assert picture.size == (550, 550)
    assert len(picture.convert("RGB").getcolors(2**16) or []) > 10, "something is drawn"


def test_given_points_are_transported_through_the_proxy(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", str(service.home))
    points = np.random.default_rng(0).standard_normal((70_000, 2), dtype=np.float32)
    content = io.BytesIO()
    np.save(content, points)
    url, headers = f"{service.url}/v1/transport?seed=3", {"Content-Type": "application/x-npy"}
    answer = service.session.post(url, content.getvalue(), headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    generator = Models(Store(clusters.tracking_uri(Cluster())).uri, "moons", "1").current.last
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), generator.transport(points, seed=3))
    refused = service.session.post(f"{service.url}/v1/transport", json={"rows": [[0, None]]}, timeout=60)
    assert (refused.status_code, refused.json()["detail"].partition(";")[0]) == (
        422,
        "the body: row 0, column 'sample' is missing",
    )


def test_equal_seeds_give_equal_samples_whatever_is_asked_beside_them(service: Service) -> None:
    alone = {seed: service.samples(num_samples=seed % 30 + 1, seed=seed) for seed in range(60)}
    with ThreadPoolExecutor(16) as pool:
        together = dict(
            zip(alone, pool.map(lambda seed: service.samples(num_samples=seed % 30 + 1, seed=seed), alone), strict=True)
        )
    for seed, samples in alone.items():
        np.testing.assert_array_equal(samples, together[seed])
    long = service.samples(num_samples=500, seed=7)
    np.testing.assert_array_equal(long[:8], alone[7])
    first, second = (service.post({"num_samples": 4}).json() for _ in range(2))
    assert first["seed"] != second["seed"]
    np.testing.assert_array_equal(service.samples(num_samples=4, seed=first["seed"]), np.float32(first["samples"]))


def test_any_phase_can_be_drawn_from_with_the_same_x(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", str(service.home))
    store = Store(clusters.tracking_uri(Cluster()))
    last = Models(store.uri, "moons", "1").current.lineage.phase_run_ids
    for k, run_id in enumerate(last):
        expected = draw(load_generator(store, store.resolve(run_id)), Draw(20, 3))
        np.testing.assert_array_equal(service.samples(num_samples=20, seed=3, phase=k), expected)


def test_the_noise_is_phase_minus_one_and_other_versions_can_be_asked_for(service: Service) -> None:
    noise = service.samples(num_samples=20, seed=3, phase=-1)
    assert not np.array_equal(noise, service.samples(num_samples=20, seed=3))
    assert noise.std() < 3
    for which in ("champion", 1, "1"):
        response = service.post({"num_samples": 20, "seed": 3, "version": which})
        assert response.headers["X-Version"] == "1"
    for which in ("nobody", "17", "latest"):
        for answer in (service.post({"version": which}), service.get(f"/v1/model?version={which}")):
            expected_status = 200 if which == "latest" else 404
            assert answer.status_code == expected_status, answer.text
    assert service.post({"version": "nobody"}).json()["detail"] == "moons has no version nobody; GET /v1/model tells its aliases"


def test_the_model_describes_itself(service: Service) -> None:
    model = service.get("/v1/model").json()
    assert (model["name"], model["target"], model["num_phases"], model["shape"]) == ("moons", "moons", 2, [2])
    assert model["metrics"]["w2"] > 0
    assert "S-JKO generator" in model["card"]
    paths = service.get("/openapi.json").json()["paths"]
    assert {"/v1/samples", "/v1/model", "/healthz", "/readyz"} <= paths.keys()


def half(service: Service, *lines: str, body: bytes = b"") -> socket.socket:
    """A connection over which a request has begun and does not go on."""
    host, port = service.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall("".join(f"{line}\r\n" for line in lines).encode() + body)
    return connection


def test_requests_that_do_not_go_on_are_given_up(service: Service) -> None:
    line, end = "POST /v1/samples HTTP/1.1", ("Content-Type: application/json", "Content-Length: 100", "")
    names = ("Host: localhost", f"Authorization: Bearer {TOKEN}")
    body = half(service, line, *names, *end, body=b'{"num_sam')
    silent = [half(service), half(service, line), half(service, line, *names), half(service, "", "")]
    answer = http.client.HTTPResponse(body)
    answer.begin()
    assert answer.status == 408
    assert "the body did not come within" in json.loads(answer.read())["detail"]
    for connection in (body, *silent):
        assert connection.recv(1) == b"", "the service ends it"
        connection.close()


def test_it_listens_on_the_loopback_alone(service: Service) -> None:
    """Serve's proxy and replicas, Ray's own processes, and the port that Prometheus reads."""
    listening = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SJKO_HOME") == str(service.home):
                found = [each.laddr for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
                listening += [(process.name(), at) for at in found]
    names = {name for name, _ in listening}
    assert {"ray::ServeReplica:generator:generator", "ray::ProxyActor"} <= names, names
    assert not [(name, at) for name, at in listening if at.ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")]


def test_prometheus_reads_requests_samples_version_and_refusals(service: Service) -> None:
    (url,) = re.findall(r"Prometheus reads (\S+)", (service.home / "log").read_text())
    assert url == f"http://127.0.0.1:{service.metrics_port}/metrics"
    service.samples(num_samples=3)
    service.post({"num_samples": 0})
    service.post({"version": "nobody"})
    wanted = [
        r'requests_total{.*status="200".*} \d',
        r'requests_total{.*status="404".*} \d',
        r'requests_total{.*status="422".*} \d',
        r'refused_total{.*reason="Not Found".*} \d',
        r"samples_total{.*} \d",
        r"model_version{.*} 1\.0",
        r"broken_version{.*} 0\.0",
    ]
    deadline = time.monotonic() + 60  # Ray's agent collects every few seconds
    while missing := [line for line in wanted if not re.search(f"ray_sjko_{line}", requests.get(url, timeout=30).text)]:
        assert time.monotonic() < deadline, missing
        time.sleep(1)


@pytest.mark.thorough
def test_no_request_that_its_openapi_document_allows_or_forbids_breaks_it(service: Service) -> None:
    checks = "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", "--max-examples=60", "--seed=1"]
    command += ["-H", f"Authorization: Bearer {TOKEN}", f"--checks={checks}", "--no-color", "--suppress-health-check=all"]
    done = subprocess.run(command, cwd=service.home, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert service.get("/readyz").json()["ready"]


@pytest.mark.parametrize("header", WRONG_HEADERS)
def test_without_the_token_only_health_is_told(service: Service, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    for path in ("/v1/model", "/nothing"):
        response = requests.get(service.url + path, headers=headers, timeout=30)
        assert response.status_code == 401
        assert "Authorization: Bearer" in response.json()["detail"]
    assert requests.post(f"{service.url}/v1/samples", json={}, headers=headers, timeout=30).status_code == 401
    assert requests.get(f"{service.url}/healthz", timeout=30).status_code == 200


class Load:
    """Requests from several clients until told to stop: (time, seconds, version) of each, and what failed."""

    def __init__(self, service: Service, num_clients: int = 4) -> None:
        self.service, self.done = service, threading.Event()
        self.answers: list[tuple[float, float, int]] = []
        self.failed: list[str] = []
        self.threads = [threading.Thread(target=self.client) for _ in range(num_clients)]

    def client(self) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {TOKEN}"
            while not self.done.is_set():
                began = time.monotonic()
                try:
                    response = session.post(f"{self.service.url}/v1/samples", json={"num_samples": 16}, timeout=30)
                    response.raise_for_status()
                    self.answers.append((began, time.monotonic() - began, int(response.headers["X-Version"])))
                except requests.RequestException as error:
                    self.failed.append(str(error))

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()

    def wait_for(self, version: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.answers or self.answers[-1][2] != version:
            assert time.monotonic() < deadline, f"version {version} did not answer within {seconds} s"
            time.sleep(0.05)


def test_promotion_and_rollback_under_load_lose_no_request_and_a_broken_version_changes_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(service.home))
    store = Store(clusters.tracking_uri(Cluster()))
    for num_steps in (60, 61):
        assert main(["register", train(tiny(num_steps=num_steps), store)[-1].ref.run_id, "--name", "moons", *QUICK]) == 0
    broken = sorted((service.home / "artifacts").rglob("map_0.safetensors"), key=lambda path: path.stat().st_mtime)[-1]
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-1] + b"\x00")
    with Load(service) as load:
        load.wait_for(1, 20)
        assert main(["promote", "moons", "--version", "2", *QUICK]) == 0
        load.wait_for(2, 20)
        store.client.set_registered_model_alias("moons", "champion", "3")  # past our own check, as another tool might
        deadline = time.monotonic() + 30
        while service.get("/readyz").json()["failed"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        state = service.get("/readyz").json()
        assert (state["version"], state["failed"]["version"]) == (2, 3)
        assert "map_0.safetensors is corrupt" in state["failed"]["reason"]
        store.client.set_registered_model_alias("moons", "champion", "2")
        assert main(["rollback", "moons"]) == 0
        load.wait_for(1, 20)
    assert load.failed == []
    assert {version for _, _, version in load.answers} == {1, 2}
    assert len(load.answers) > 50
    deadline = time.monotonic() + 10
    while service.get("/readyz").json()["failed"] is not None:
        assert time.monotonic() < deadline
    broken.write_bytes(whole)  # other tests ask this service for its latest version


def test_hosts_that_others_can_reach_need_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SJKO_TOKEN", raising=False)
    assert all(map(is_loopback, ("127.0.0.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "10.0.0.1", "example.org")))
    assert token_of("127.0.0.1", None) is None
    with pytest.raises(ValueError, match=r"required with --host 0\.0\.0\.0"):
        token_of("0.0.0.0", None)
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        token_of("127.0.0.1", path)
    path.chmod(0o600)
    assert token_of("0.0.0.0", path) == TOKEN
    path.write_text("short")
    with pytest.raises(ValueError, match="16 or more printable"):
        token_of("127.0.0.1", path)
    with pytest.raises(ValueError, match="existing file"):
        token_of("127.0.0.1", tmp_path / "none")


@pytest.mark.slow
def test_a_replica_that_starts_on_a_broken_version_serves_the_one_before(store: Store, home: Path) -> None:
    for num_steps in (12, 13):
        assert main(["register", train(tiny(num_steps=num_steps), store)[-1].ref.run_id, "--name", "moons", *QUICK]) == 0
        assert main(["promote", "moons", *QUICK]) == 0
    broken = sorted((home / "artifacts").rglob("map_0.safetensors"), key=lambda path: path.stat().st_mtime)[-1]
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-1] + b"\x00")
    models = Models(store.uri, "moons", "champion")
    assert (models.current.version.number, models.failed[0] if models.failed else 0) == (1, 2)
    broken.write_bytes(whole)
    assert Models(store.uri, "moons", "champion").current.version.number == 2


def test_a_sample_has_the_same_digits_however_many_follow(store: Store) -> None:
    assert list(blocks(40)) == [slice(0, 8), slice(8, 16), slice(16, 32), slice(32, 64)]
    assert [part.stop - part.start for part in blocks(50_000)] == [8, *(2**i for i in range(3, 15)), 16_384, 16_384]
    generator = load_generator(store, train(tiny(), store)[-1].ref)
    long = draw(generator, Draw(40_000, 1))
    for n in (1, 3, 8, 9, 20, 28, 1000, 17_001):
        np.testing.assert_array_equal(long[:n], draw(generator, Draw(n, 1)))


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("*/*", "json"),
        ("", "json"),
        ("text/html, image/png;q=0.8", "png"),
        ("application/x-npy", "npy"),
        ("image/*", "png"),
        ("text/html", None),
    ],
)
def test_the_accept_header_chooses_the_format(accept: str, name: str | None) -> None:
    assert wire.format_of(accept) == name


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("--host 0.0.0.0", ("--token-file or $SJKO_TOKEN is required", "0.0.0.0")),
        ("--port 0", ("--port must be from 1 to 65535", "0")),
        ("--metrics-port 65536", ("--metrics-port must be from 1 to 65535", "65536")),
        ("--metrics-port 8000", ("--metrics-port must be another port than --port", "8000")),
        ("--metrics-port 9 --cluster.address 127.0.0.1:6379", ("--metrics-port belongs to a Ray that is started here",)),
        ("--hosts demo.example.org:80", ("--hosts must be a list of names", "demo.example.org:80")),
        ("--hosts demo,,other", ("--hosts must be a list of names", "''")),
        ("--hosts http://demo", ("--hosts must be a list of names", "http://demo")),
        ("--replicas 2 1", ("--replicas", "2 1")),
        ("", ("nobody@champion is not in the registry", "no models yet")),
    ],
)
def test_a_service_that_cannot_start_says_why_in_one_line(
    flags: str, parts: tuple[str, ...], store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SJKO_TOKEN", raising=False)
    assert main(["serve", "nobody@champion", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


def test_a_port_that_is_taken_is_named(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["register", train(tiny(), store)[-1].ref.run_id, "--name", "moons", *QUICK]) == 0
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        for flags, named in (
            (["--metrics-port", str(port)], f"--metrics-port {port} cannot be listened on"),
            (["--port", str(port)], f"--host 127.0.0.1 --port {port} cannot be listened on"),
        ):
            capsys.readouterr()
            assert main(["serve", "moons@candidate", *flags]) == 2
            error = capsys.readouterr().err
            assert named in error
            assert error.count("\n") == 1


def test_a_json_answer_is_what_it_says() -> None:
    samples = np.arange(6, dtype=np.float32).reshape(3, 2)
    value = json.loads(wire.encode(samples, "json", {"version": 1}, "points"))
    assert value == {"version": 1, "shape": [3, 2], "samples": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]}


def test_the_configuration_file_for_clusters_is_valid_and_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = ServeDeploySchema.model_validate(yaml.safe_load((ROOT / "deploy" / "serve.yaml").read_text()))
    (application,) = schema.applications
    module, _, function = application.import_path.partition(":")
    build = getattr(importlib.import_module(module), function)
    monkeypatch.delenv("SJKO_TOKEN", raising=False)
    with pytest.raises(ValueError, match="SJKO_TOKEN is required"):
        build(application.args)
    monkeypatch.setenv("SJKO_TOKEN", TOKEN)
    assert build(application.args)
    assert build({**application.args, "hosts": ["demo.example.org"]})
    with pytest.raises(ValueError, match=r"args\.hosts must be a list of names"):
        build({**application.args, "hosts": "demo.example.org"})
    for wrong in ({"tracking_uri": "mlflow:5000"}, {"data": "s3:///sets"}):
        (field,) = wrong
        with pytest.raises(ValueError, match=rf"^args\.{field} must"):
            build({**application.args, **wrong})
    for wrong in ({}, {**application.args, "token": TOKEN}, {**application.args, "colour": 1}):
        with pytest.raises(ValueError, match="args must hold name, tracking_uri, which"):
            build(wrong)


@pytest.mark.slow
def test_a_model_from_images_to_images_finds_its_source_where_the_service_is_told(store: Store, tmp_path: Path) -> None:
    sets.prepared("mnist", sets.mnist(tmp_path / "mnist"), tmp_path)
    sets.prepared("emnist_letters", sets.emnist(tmp_path / "letters"), tmp_path)
    flags = ["--jko.num-phases=1", "--training.num-steps=2", "--training.batch-size=4", f"--store.data={tmp_path}"]
    command = cli.PROGRAM.read(["run", "emnist_to_mnist", *flags])
    assert isinstance(command, cli.Run)
    (result,) = train(command.resolved(), store, command.cluster)
    assert main(["register", result.ref.run_id, "--name", "letters", f"--store.data={tmp_path}", *QUICK]) == 0
    models = Models(store.uri, "letters", "1", str(tmp_path))
    assert draw(models.current.last, Draw(16, 0)).shape == (16, 1, 28, 28)
    with pytest.raises(FlowError, match="emnist_letters"):
        Models(store.uri, "letters", "1", str(tmp_path / "elsewhere"))
