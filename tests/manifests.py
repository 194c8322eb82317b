"""The manifests of deploy/kubernetes as tests read them."""

import copy
from collections.abc import Iterator
from typing import Any

import yaml
from flows import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.33"
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
IMAGE = "registry.example.org/sjko:0.2.0"


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield f"{path.stem}/{document['kind']}/{document['metadata']['name']}", document


DOCUMENTS = dict(documents())
RAY = {name: document for name, document in DOCUMENTS.items() if document["apiVersion"].startswith("ray.io")}
MONITORING = {name: document for name, document in DOCUMENTS.items() if "monitoring.coreos.com" in document["apiVersion"]}
CORE = {name: document for name, document in DOCUMENTS.items() if name not in RAY | MONITORING}


def ray_cluster(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    return dict(spec["rayClusterSpec" if document["kind"] == "RayJob" else "rayClusterConfig"])


def pods(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The pod templates of a document; beside the head is the autoscaler's container, as KubeRay adds it."""
    if not document["apiVersion"].startswith("ray.io"):
        return [document["spec"]["template"]] if "template" in document.get("spec", {}) else []
    cluster = ray_cluster(document)
    head, options = copy.deepcopy(cluster["headGroupSpec"]["template"]), cluster["autoscalerOptions"]
    own = {name: options[name] for name in ("resources", "securityContext", "env", "volumeMounts") if name in options}
    head["spec"]["containers"].append({"name": "autoscaler", "image": IMAGE, **own})
    return [head, *(group["template"] for group in cluster["workerGroupSpecs"])]


PODS = [(f"{name} {i}", template) for name, document in DOCUMENTS.items() for i, template in enumerate(pods(document))]
