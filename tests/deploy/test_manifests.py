"""What is shipped for clusters: `ray up` and Kubernetes take it, its commands exist, its versions are the pinned ones."""

import re
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml
from flows import ROOT
from manifests import CORE, DOCUMENTS, FOLDER, IMAGE, KUBERNETES, PINS, PODS, RAY, ray_cluster
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema

from pipeline.command import cli
from pipeline.command.flags import Submit
from pipeline.command.submission import entrypoint
from tune import cli as tune_cli


def test_there_is_what_a_platform_team_asks_for() -> None:
    assert {document["kind"] for document in DOCUMENTS.values()} >= {
        "RayJob",
        "RayService",
        "StatefulSet",
        "Deployment",
        "NetworkPolicy",
    }
    assert set(RAY) == {"flow/RayJob/flow", "search/RayJob/search", "generator/RayService/generator"}


@pytest.mark.parametrize("name", CORE)
def test_kubernetes_knows_every_field(name: str) -> None:
    kubernetes_validate.validate(CORE[name], KUBERNETES, strict=True)


@pytest.mark.parametrize(("name", "template"), PODS, ids=[name for name, _ in PODS])
def test_pods_are_whole_and_ask_for_what_they_may_have(name: str, template: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", **template["metadata"]}, "spec": template["spec"]}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    for container in template["spec"]["containers"]:
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert re.search(r":\d+(\.\d+)+$", container["image"]), "no floating tags"
        assert container["image"].startswith(("docker.io/library/postgres:", "docker.io/library/redis:", IMAGE))
        assert container["resources"]["limits"].keys() >= {"cpu", "memory", "ephemeral-storage"}
        if not name.startswith(("flow", "search", "generator")):
            assert {"readinessProbe", "livenessProbe"} <= container.keys()


@pytest.mark.parametrize("name", RAY)
def test_ray_is_the_pinned_one_with_token_autoscaler_v2_and_a_head_without_work(name: str) -> None:
    cluster = ray_cluster(RAY[name])
    assert cluster["rayVersion"] == PINS["ray"] == ray.__version__
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    start = cluster["headGroupSpec"]["rayStartParams"]
    assert start["num-cpus"] == "0"
    assert yaml.safe_load(shlex.split(start["resources"])[0]) == {"train_driver": 100}
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert (group["minReplicas"] == 0) == (RAY[name]["kind"] == "RayJob"), "jobs grow from nothing"
        assert group["template"]["spec"]["restartPolicy"] == "Never", "the autoscaler replaces pods"


def test_the_image_has_the_pinned_ray() -> None:
    (base,) = re.findall(r"^FROM docker.io/rayproject/ray:(\S+)$", (FOLDER / "Containerfile").read_text(), re.MULTILINE)
    assert base == f"{PINS['ray']}-py311-cpu"


def command_of(text: str) -> list[str]:
    python, dash_m, package, *arguments = shlex.split(text)
    assert (python, dash_m) == ("python", "-m")
    assert package in ("pipeline", "tune")
    return [package, *arguments]


@pytest.mark.parametrize("name", [name for name in RAY if "RayJob" in name])
def test_commands_of_jobs_are_ones_that_exist(name: str) -> None:
    package, *arguments = command_of(RAY[name]["spec"]["entrypoint"])
    if package == "pipeline":
        command = cli.PROGRAM.read(arguments)
        assert command.cluster.address == "auto"
    else:
        command = tune_cli.PROGRAM.read(arguments)
        assert {axis.name for axis in command.axes} == {"jko.h", "jko.divergence"}
    workers = [group for group in ray_cluster(RAY[name])["workerGroupSpecs"] if "gpu" in group["groupName"]]
    assert sum(group["maxReplicas"] for group in workers) >= command.cluster.num_workers
    cpus = {group["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] for group in workers}
    assert all(int(cpu) > command.cluster.cpus_per_worker for cpu in cpus)


def test_the_service_is_one_that_serve_takes() -> None:
    text = RAY["generator/RayService/generator"]["spec"]["serveConfigV2"]
    (application,) = ServeDeploySchema(**yaml.safe_load(text)).applications
    assert application.import_path == "deploy.service:configured"
    assert {"tracking_uri", "name", "which"} <= application.args.keys()


@pytest.fixture
def config() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "ray_cluster.yaml").read_text()))


@pytest.mark.filterwarnings("ignore")
def test_ray_up_takes_the_cluster(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / ".ray" / "auth_token", tmp_path / ".sjko" / "cluster.env"):
        path.parent.mkdir()
        path.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)
    validate_config(prepare_config(config))


def test_the_cluster_grows_from_nothing_prefers_spot_and_keeps_work_off_its_head(config: dict[str, Any]) -> None:
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0, "train_driver": 100}
    workers = {name: kind for name, kind in types.items() if name != "head"}
    for kind in workers.values():
        assert 0 == kind["min_workers"] <= kind["max_workers"] <= config["max_workers"]
    assert workers["gpu_spot"]["priority"] > workers["gpu_on_demand"]["priority"]
    assert workers["gpu_spot"]["resources"] == workers["gpu_on_demand"]["resources"]
    assert workers["gpu_spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in workers["gpu_on_demand"]["node_config"]


def test_the_cluster_is_closed_and_pinned(config: dict[str, Any]) -> None:
    for start in (config["head_start_ray_commands"][1], config["worker_start_ray_commands"][1]):
        assert "RAY_AUTH_MODE=token" in start
        assert "RAY_enable_autoscaler_v2=1" in start, "priorities are the new autoscaler's"
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][1]
    assert config["file_mounts"]["~/sjko/constraints.txt"] == "constraints.txt"
    assert any("-c constraints.txt" in command for command in config["setup_commands"])


def test_the_first_lines_of_the_cluster_say_commands_that_exist() -> None:
    text = (ROOT / "ray_cluster.yaml").read_text()
    (line,) = re.findall(r"python -m pipeline (submit .*)$", text, re.MULTILINE)
    arguments = shlex.split(line)
    command = cli.PROGRAM.read(arguments)
    assert isinstance(command, Submit)
    assert command.cluster.use_gpu
    sent = shlex.split(entrypoint(command.words))
    assert sent[:5] == ["python", "-m", "pipeline", "run", "cifar10_large"]
    assert "--dashboard" not in sent
    assert cli.PROGRAM.read(sent[3:]).cluster.address == "auto"
