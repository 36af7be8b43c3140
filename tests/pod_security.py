"""Kubernetes' Pod Security Standards, level "restricted", and what we ask of pods beside them.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from collections.abc import Iterator
from typing import Any

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}
SECCOMP = {"RuntimeDefault", "Localhost"}
SYSCTLS = {
    *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies"),
    *("net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"),
    *("net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_fin_timeout"),
    *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl"),
    "net.ipv4.tcp_keepalive_probes",
}


def pod_specs(part: Any) -> Iterator[dict[str, Any]]:
    """Every pod specification in a resource, however deep (jobs of jobs, custom resources)."""
    if isinstance(part, dict):
        if "containers" in part:
            yield part
        else:
            yield from pod_specs(list(part.values()))
    elif isinstance(part, list):
        for value in part:
            yield from pod_specs(value)


def violations(pod: dict[str, Any]) -> set[str]:
    """Names of the fields that break the restricted level."""
    found = {name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)}
    for volume in pod.get("volumes", []):
        found |= {f"volumes.{kind}" for kind in volume.keys() - {"name"} - VOLUMES}
    shared = pod.get("securityContext", {})
    found |= {"sysctls" for sysctl in shared.get("sysctls", []) if sysctl["name"] not in SYSCTLS}
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(kind, []):
            found |= set(_container_violations(container, shared))
    return found


def _container_violations(container: dict[str, Any], shared: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = shared | own
    capabilities = own.get("capabilities", {})
    checks = {
        "privileged": not own.get("privileged"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities.drop": "ALL" in capabilities.get("drop", []),
        "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
        "runAsNonRoot": both.get("runAsNonRoot") is True,
        "runAsUser": both.get("runAsUser") != 0,
        "seccompProfile": both.get("seccompProfile", {}).get("type") in SECCOMP,
        "procMount": own.get("procMount", "Default") == "Default",
        "appArmorProfile": both.get("appArmorProfile", {}).get("type") != "Unconfined",
        "seLinuxOptions": not {"user", "role"} & both.get("seLinuxOptions", {}).keys(),
        "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
    }
    yield from (name for name, kept in checks.items() if not kept)


def our_violations(pod: dict[str, Any]) -> set[str]:
    """What we ask for beside it: nothing writable, nothing unbounded, no token."""
    found = {
        "automountServiceAccountToken" if pod.get("automountServiceAccountToken", True) else "",
        "enableServiceLinks" if pod.get("enableServiceLinks", True) else "",
    } - {""}
    for volume in pod.get("volumes", []):
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            found.add("emptyDir.sizeLimit")
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        if not container.get("securityContext", {}).get("readOnlyRootFilesystem"):
            found.add("readOnlyRootFilesystem")
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("limits", {}).keys():
            found.add("resources.limits")
        if resources.get("requests") != resources.get("limits"):
            found.add("resources.requests")
    return found
