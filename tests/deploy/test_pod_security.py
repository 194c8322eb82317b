"""What pods of the manifests may do to their nodes, and where their secrets stand."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from manifests import DOCUMENTS, PODS, pods
from pod_security import containers, violations


@pytest.mark.parametrize(("name", "template"), PODS, ids=[name for name, _ in PODS])
def test_pods_keep_to_the_restricted_profile_write_to_volumes_alone_and_hold_no_token(
    name: str, template: dict[str, Any]
) -> None:
    spec = template["spec"]
    assert violations(spec) == []
    assert spec["automountServiceAccountToken"] is False
    for container in containers(spec):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        homes = {one["value"] for one in container.get("env", []) if one["name"] in ("HOME", "SJKO_HOME")}
        assert all(any(home == path or home.startswith(path + "/") for path in mounts) for home in homes)
        assert ("autoscaler-token" in mounts.values()) == (container["name"] == "autoscaler")
    sizes = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in spec.get("volumes", []) if "emptyDir" in volume}
    for container in spec["containers"]:
        if container["name"] == "autoscaler" or "tmp" not in sizes:
            continue
        room = container["resources"]["limits"]["ephemeral-storage"]
        assert int(sizes["tmp"].removesuffix("Gi")) < int(room.removesuffix("Gi")), "logs need some of it"


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("pod", {"hostNetwork": True}, "hostNetwork"),
        ("pod", {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "volume x is hostPath"),
        ("pod", {"securityContext": {"runAsNonRoot": True}}, "x: seccompProfile"),
        ("pod", {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, "x: runAsNonRoot"),
        ("container", {"allowPrivilegeEscalation": False}, "x: capabilities.drop"),
        ("container", {"capabilities": {"drop": ["ALL"]}}, "x: allowPrivilegeEscalation"),
        (
            "container",
            {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]}},
            "x: capabilities.add",
        ),
    ],
)
def test_the_profile_refuses_what_kubernetes_would(where: str, value: dict[str, Any], said: str) -> None:
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "x", "securityContext": context}],
    }
    assert violations(spec) == []
    spec = spec | value if where == "pod" else {**spec, "containers": [{"name": "x", "securityContext": value}]}
    assert violations(spec) == [said]


def test_no_secret_is_written_down() -> None:
    for document in DOCUMENTS.values():
        assert document["kind"] != "Secret"
        for template in pods(document):
            for container in template["spec"]["containers"]:
                for variable in container.get("env", []):
                    if re.search("PASSWORD|TOKEN|KEY", variable["name"]):
                        assert variable.keys() == {"name", "valueFrom"}, variable["name"]


def secret_variables(container: dict[str, Any]) -> set[str]:
    """Variables that hold a secret, and those that are made from one."""
    variables = container.get("env", [])
    secret = {one["name"] for one in variables if "secretKeyRef" in one.get("valueFrom", {})}
    return secret | {one["name"] for one in variables if any(f"$({name})" in one.get("value", "") for name in secret)}


@pytest.mark.parametrize(("name", "template"), PODS, ids=[name for name, _ in PODS])
def test_no_argument_holds_a_secret(name: str, template: dict[str, Any]) -> None:
    for container in containers(template["spec"]):
        probes = (
            container.get(f"{kind}Probe", {}).get("exec", {}).get("command", []) for kind in ("startup", "readiness", "liveness")
        )
        words = [*container.get("command", []), *container.get("args", []), *(word for probe in probes for word in probe)]
        text = re.sub(r"<<(\w+)\n.*?\n\1\b", "", "\n".join(words), flags=re.DOTALL)  # standard input is not an argument
        for variable in secret_variables(container):
            assert not re.search(rf"\$[({{]?{variable}\b", text), variable


def test_mlflow_takes_its_database_from_the_environment() -> None:
    import mlflow.cli  # and with it the server, which only this test needs

    (container,) = DOCUMENTS["stores/Deployment/mlflow"]["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["MLFLOW_BACKEND_STORE_URI"] == "postgresql://sjko:$(DATABASE_PASSWORD)@postgresql:5432/mlflow"
    assert list(variables).index("DATABASE_PASSWORD") < list(variables).index("MLFLOW_BACKEND_STORE_URI"), (
        "or it is not filled in"
    )
    _, _, *arguments = [*container["command"], *container["args"]]
    read = mlflow.cli.server.make_context("server", arguments, resilient_parsing=True)
    assert read.params["artifacts_destination"] == "s3://my-bucket/artifacts"
    (option,) = (one for one in mlflow.cli.server.params if one.name == "backend_store_uri")
    assert option.envvar == "MLFLOW_BACKEND_STORE_URI"


def test_redis_is_told_its_password_on_standard_input(tmp_path: Path) -> None:
    (container,) = DOCUMENTS["stores/StatefulSet/redis"]["spec"]["template"]["spec"]["containers"]
    server = tmp_path / "redis-server"
    server.write_text('#!/bin/sh\necho "$@" > arguments\ncat > configuration\n')
    server.chmod(0o755)
    (variable,) = container["env"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", variable["name"]: "5f0c1d"}
    subprocess.run([*container["command"], *container["args"]], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "configuration").read_text() == "requirepass 5f0c1d\n"
    assert (tmp_path / "arguments").read_text() == "- --dir /data --appendonly yes\n"
