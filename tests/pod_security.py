"""The restricted profile of Kubernetes' Pod Security Standards, as a test can ask for it without a cluster.

Source: kubernetes.io/docs/concepts/security/pod-security-standards.
"""

from collections.abc import Iterator
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECCOMP = ("RuntimeDefault", "Localhost")
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_syncookies",
}


def violations(spec: dict[str, Any]) -> list[str]:
    """What the admission controller of a namespace with `enforce=restricted` would say of a pod."""
    return [*of_pod(spec), *(found for container in containers(spec) for found in of_container(container, spec))]


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for kind in ("initContainers", "containers", "ephemeralContainers") for one in spec.get(kind, [])]


def of_pod(spec: dict[str, Any]) -> Iterator[str]:
    context = spec.get("securityContext", {})
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield name
    for volume in spec.get("volumes", []):
        if kinds := volume.keys() - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is {', '.join(kinds)}"
    for sysctl in context.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"


def of_container(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    own, name = container.get("securityContext", {}), container["name"]
    both = spec.get("securityContext", {}) | own
    capabilities = own.get("capabilities", {})
    checks = {
        "privileged": own.get("privileged", False),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation", True),
        "capabilities.drop": "ALL" not in capabilities.get("drop", []),
        "capabilities.add": set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"},
        "runAsNonRoot": both.get("runAsNonRoot") is not True,
        "runAsUser": both.get("runAsUser") == 0,
        "seccompProfile": both.get("seccompProfile", {}).get("type") not in SECCOMP,
        "appArmorProfile": both.get("appArmorProfile", {}).get("type") == "Unconfined",
        "procMount": own.get("procMount", "Default") != "Default",
        "seLinuxOptions": both.get("seLinuxOptions", {}).keys() & {"user", "role"},
        "hostProcess": both.get("windowsOptions", {}).get("hostProcess", False),
        "hostPort": any(port.get("hostPort") for port in container.get("ports", [])),
    }
    yield from (f"{name}: {check}" for check, broken in checks.items() if broken)
