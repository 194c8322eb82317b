"""Who reaches what in the namespace of the manifests, and what stays up when a node goes."""

import re
from typing import Any

import pytest
import yaml
from flows import ROOT
from manifests import CORE, DOCUMENTS, MONITORING, PODS, RAY, ray_cluster
from pod_security import containers
from ray.autoscaler._private import constants as autoscaler_constants
from ray.dashboard import consts as dashboard_constants

POLICIES = [document["spec"] for document in CORE.values() if document["kind"] == "NetworkPolicy"]
PROMETHEUS = ({"kubernetes.io/metadata.name": "monitoring"}, {"app.kubernetes.io/name": "prometheus"})
OPERATOR = ({"kubernetes.io/metadata.name": "kuberay"}, {"app.kubernetes.io/name": "kuberay-operator"})
STRANGER = ({"kubernetes.io/metadata.name": "elsewhere"}, {"app": "stranger"})


def picks(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


def is_let_in(pod: dict[str, str], port: int, source: tuple[dict[str, str], dict[str, str]] | None) -> bool:
    """Whether a connection reaches a port of a pod, from labels of a namespace and of a pod in it; None: our own Ray."""
    policies = [policy for policy in POLICIES if picks(policy["podSelector"], pod)]
    return not policies or any(
        ("ports" not in rule or any(port == one["port"] for one in rule["ports"]))
        and ("from" not in rule or any(comes_from(peer, source) for peer in rule["from"]))
        for policy in policies
        for rule in policy.get("ingress", [])
    )


def comes_from(peer: dict[str, Any], source: tuple[dict[str, str], dict[str, str]] | None) -> bool:
    if source is None:
        return "namespaceSelector" not in peer and picks(peer["podSelector"], {"part": "ray"})
    namespace, pod = source
    return "namespaceSelector" in peer and picks(peer["namespaceSelector"], namespace) and picks(peer.get("podSelector", {}), pod)


def test_prometheus_reaches_every_metrics_port_and_no_stranger_does() -> None:
    (monitor,) = (document["spec"] for document in MONITORING.values() if document["kind"] == "PodMonitor")
    wanted = {one["port"] for one in monitor["podMetricsEndpoints"]}
    reached = set()
    for name, template in PODS:
        labels = template["metadata"]["labels"]
        if not picks(monitor["selector"], labels):
            continue
        ports = {port["name"]: port["containerPort"] for one in containers(template["spec"]) for port in one.get("ports", [])}
        assert "metrics" in ports, name
        for port in wanted & ports.keys():
            reached.add((port, ports[port]))
            assert is_let_in(labels, ports[port], PROMETHEUS), f"{name}: {port}"
            assert not is_let_in(labels, ports[port], STRANGER), f"{name}: {port}"
    assert reached == {
        ("metrics", 8080),
        ("as-metrics", autoscaler_constants.AUTOSCALER_METRIC_PORT),
        ("dash-metrics", dashboard_constants.DASHBOARD_METRIC_PORT),
    }


@pytest.mark.parametrize("name", RAY)
def test_every_node_of_ray_tells_its_metrics_where_its_port_says(name: str) -> None:
    cluster = ray_cluster(RAY[name])
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert group["rayStartParams"]["metrics-export-port"] == str(ports["metrics"])


def test_only_who_has_to_gets_through_the_network_policies() -> None:
    service, flow = {"part": "ray", "serves": "generator"}, {"part": "ray"}
    stores = {5000: "mlflow", 5432: "postgresql", 6379: "redis"}
    assert is_let_in(service, 8000, STRANGER)
    assert not is_let_in(flow, 8000, STRANGER)
    for port in (6379, 8265, 10001):
        assert is_let_in(flow, port, None)
        assert not is_let_in(flow, port, STRANGER)
        assert not is_let_in(flow, port, PROMETHEUS)
    for port in (8265, 52365, 8000):
        assert is_let_in(service, port, OPERATOR), "KubeRay asks for the state of jobs and applications"
    for port, name in stores.items():
        store = {"part": "store", "app": name}
        assert is_let_in(store, port, None)
        assert not is_let_in(store, port, STRANGER)
        assert not is_let_in(store, port, PROMETHEUS)


def test_alerts_ask_for_metrics_that_the_service_has() -> None:
    text = (ROOT / "deploy" / "service.py").read_text() + (ROOT / "docs" / "operations.md").read_text()
    (rules,) = (document["spec"]["groups"] for document in MONITORING.values() if document["kind"] == "PrometheusRule")
    asked = {name for group in rules for rule in group["rules"] for name in re.findall(r"ray_(sjko_\w+)", rule["expr"])}
    counters = {name.removesuffix("_total") for name in asked}
    assert counters == {"sjko_requests", "sjko_broken_version"}
    assert all(f'"{name}"' in text for name in counters)


def test_the_service_outlives_a_drained_node_and_a_lost_head() -> None:
    document = RAY["generator/RayService/generator"]
    cluster = ray_cluster(document)
    (budget,) = (one["spec"] for one in CORE.values() if one["kind"] == "PodDisruptionBudget")
    (workers,) = cluster["workerGroupSpecs"]
    labels = workers["template"]["metadata"]["labels"] | {"ray.io/node-type": "worker"}  # which KubeRay adds
    assert picks(budget["selector"], labels)
    assert not picks(budget["selector"], labels | {"ray.io/node-type": "head"})
    assert budget["minAvailable"] < workers["minReplicas"], "or no node could ever be drained"
    assert isinstance(budget["minAvailable"], int), "of pods that KubeRay owns Kubernetes knows no share"
    (application,) = yaml.safe_load(document["spec"]["serveConfigV2"])["applications"]
    assert application["args"]["min_replicas"] >= workers["minReplicas"]
    options = cluster["gcsFaultToleranceOptions"]
    host, _, port = options["redisAddress"].partition(":")
    redis = DOCUMENTS[f"stores/Service/{host}"]["spec"]
    assert [one["port"] for one in redis["ports"]] == [int(port)]
    (container,) = DOCUMENTS["stores/StatefulSet/redis"]["spec"]["template"]["spec"]["containers"]
    assert container["env"][0]["valueFrom"] == options["redisPassword"]["valueFrom"]
