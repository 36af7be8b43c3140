"""Manifests for what others have built: KServe, the Gateway API, KubeRay, Kueue.

No package has these projects' schemas. What is held here is the part of each contract without
which the manifest would be refused, or would do something else. It was read in the sources of
KServe 0.20, Knative Serving (August 2026), the Gateway API 1.6, Envoy Gateway 1.9 and KubeRay 1.7.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from photo2cartoon.ground.settings import Settings
from tests.places import ROOT
from tests.pod_security import pod_specs

K8S = ROOT / "k8s"
DEFAULTS = Settings()
PATHS: list[str] = list(json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"])
OF_ONE_POD = {"/livez", "/readyz", "/metrics"}
# Knative Serving, pkg/apis/serving/fieldmask.go: what it takes where no feature flag is set.
POD_FIELDS = {
    *("serviceAccountName", "containers", "volumes", "imagePullSecrets"),
    *("enableServiceLinks", "automountServiceAccountToken"),
}
CONTAINER_FIELDS = {
    *("name", "args", "command", "env", "envFrom", "workingDir", "image", "imagePullPolicy"),
    *("livenessProbe", "readinessProbe", "startupProbe", "ports", "resources", "securityContext"),
    *("terminationMessagePath", "terminationMessagePolicy", "volumeMounts"),
}
SECURITY_FIELDS = {
    *("capabilities", "readOnlyRootFilesystem", "runAsUser", "runAsGroup", "runAsNonRoot"),
    *("allowPrivilegeEscalation", "seccompProfile"),
}
# KServe, pkg/apis/serving/v1beta1/component.go: how a component is scaled and called.
SCALING_FIELDS = {
    *("minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "containerConcurrency"),
    *("timeout", "annotations"),
}


def load(*place: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(K8S.joinpath(*place).read_text())
    return document


def seconds(text: str) -> float:
    """A duration as the Gateway API and Knative write it: 125s, 10ms, 5m."""
    found = re.fullmatch(r"(\d+)(ms|s|m)", text)
    assert found, text
    return int(found[1]) * {"ms": 0.001, "s": 1, "m": 60}[found[2]]


def size(text: str) -> int:
    """A size as Kubernetes writes it: 96Mi."""
    return int(text.removesuffix("Mi")) << 20


def test_kserve_starts_the_service_by_what_is_in_flight_and_stops_the_last_pod() -> None:
    service = load("kserve", "inferenceservice.yaml")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    # Standard, the default, has neither concurrency nor zero.
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Knative"
    predictor = service["spec"]["predictor"]
    assert predictor.keys() <= SCALING_FIELDS | POD_FIELDS
    assert predictor["minReplicas"] == 0 < predictor["maxReplicas"]
    assert predictor["scaleMetric"] == "concurrency"
    (container,) = predictor["containers"]
    assert str(predictor["scaleTarget"]) == container["resources"]["limits"]["cpu"]  # the lanes
    assert predictor["containerConcurrency"] == 0  # refusals are the service's own
    assert predictor["timeout"] > DEFAULTS.max_deadline_ms / 1000
    assert predictor["timeout"] > float(values(container)["P2C_GRACE_S"])
    retained = predictor["annotations"][
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period"
    ]
    assert seconds(retained) >= 60


def test_knative_takes_every_field_of_the_predictor() -> None:
    """A field that it does not know is refused; a readiness probe needs no period."""
    (container,) = load("kserve", "inferenceservice.yaml")["spec"]["predictor"]["containers"]
    assert container["name"] == "kserve-container"
    assert container.keys() <= CONTAINER_FIELDS
    assert container["securityContext"].keys() <= SECURITY_FIELDS
    assert container["ports"] == [{"containerPort": DEFAULTS.port, "protocol": "TCP"}]
    assert container["readinessProbe"] == {"httpGet": {"path": "/v2/health/ready"}}
    for kind in ("readinessProbe", "livenessProbe"):
        assert container[kind]["httpGet"]["path"] in PATHS


def test_settings_that_stand_in_manifests_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = load("kserve", "inferenceservice.yaml")["spec"]["predictor"]["containers"]
    for name, value in values(container).items():
        assert name.removeprefix("P2C_").lower() in Settings.model_fields
        monkeypatch.setenv(name, value)
    assert Settings().grace_s == 30


def values(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def opened(path: str) -> bool:
    """Whether the HTTPRoute leads a path to the service."""
    (rule,) = load("components", "gateway", "httproute.yaml")["spec"]["rules"]
    for match in rule["matches"]:
        kind, value = match["path"]["type"], match["path"]["value"]
        if path == value or (kind == "PathPrefix" and path.startswith(f"{value}/")):
            return True
    return False


def test_the_gateway_opens_what_callers_need_and_nothing_of_one_pod() -> None:
    assert {path for path in PATHS if not opened(path)} == OF_ONE_POD
    page = sorted((ROOT / "app" / "photo2cartoon" / "api" / "page").iterdir())
    assert page
    assert all(opened(f"/page/{file.name}") for file in page)
    assert all(map(opened, ("/", "/docs", "/openapi.json")))


def test_the_gateway_waits_as_long_as_a_caller_may() -> None:
    route = load("components", "gateway", "httproute.yaml")
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    (rule,) = route["spec"]["rules"]
    assert seconds(rule["timeouts"]["request"]) > DEFAULTS.max_deadline_ms / 1000
    service = load("base", "service.yaml")
    (backend,) = rule["backendRefs"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_a_refusal_goes_to_another_pod() -> None:
    policy = load("components", "gateway", "backendtrafficpolicy.yaml")
    assert policy["apiVersion"] == "gateway.envoyproxy.io/v1alpha1"
    route = load("components", "gateway", "httproute.yaml")
    spec = policy["spec"]
    (target,) = spec["targetRefs"]
    group = route["apiVersion"].partition("/")[0]
    assert target == {"group": group, "kind": route["kind"], "name": route["metadata"]["name"]}
    assert spec["loadBalancer"] == {"type": "LeastRequest"}
    retry = spec["retry"]
    assert retry["numRetries"] == 2
    # The codes count with this trigger only.
    assert {"connect-failure", "retriable-status-codes"} <= set(retry["retryOn"]["triggers"])
    assert retry["retryOn"]["httpStatusCodes"] == [503]
    assert seconds(retry["perRetry"]["backOff"]["maxInterval"]) <= 0.1


def test_the_gateway_holds_a_whole_body_to_send_it_again() -> None:
    spec = load("components", "gateway", "backendtrafficpolicy.yaml")["spec"]
    largest = max(DEFAULTS.max_body_bytes, DEFAULTS.max_batch_bytes)
    assert largest <= size(spec["requestBuffer"]["limit"]) < 2 * largest


def test_the_gateway_asks_pods_and_does_not_count_refusals() -> None:
    health = load("components", "gateway", "backendtrafficpolicy.yaml")["spec"]["healthCheck"]
    assert health.keys() == {"active"}
    active = health["active"]
    assert active["type"] == "HTTP"
    assert active["http"]["path"] == "/readyz"
    settings = dict(
        line.split("=", 1)
        for line in (K8S / "base" / "settings.env").read_text().splitlines()
        if not line.startswith("#")
    )
    noticed = seconds(active["interval"]) * active["unhealthyThreshold"]
    assert noticed <= float(settings["P2C_DRAIN_DELAY_S"])


def test_the_ray_job_draws_from_store_to_store_on_workers_alone() -> None:
    job = load("ray", "rayjob.yaml")
    assert job["apiVersion"] == "ray.io/v1"
    spec = job["spec"]
    words = spec["entrypoint"].split()
    assert words[:2] == ["photo2cartoon", "bulk"]
    assert words[4:] == ["--engine", "ray", "--address", "auto"]
    assert (
        spec["submissionMode"] == "HTTPMode"
    )  # the submitter's pod is not of the restricted level
    assert spec["shutdownAfterJobFinishes"] is True
    cluster = spec["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    head, worker = pod_specs(job)
    for pod in (head, worker):
        (container,) = pod["containers"]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted == {"/tmp", "/dev/shm"}  # Ray writes there, on a root that is read-only
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]


@pytest.mark.parametrize("folder", ["ray", "training"])
def test_a_ray_job_names_the_version_of_its_image(folder: str) -> None:
    version = load(folder, "rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"]
    lock = (ROOT / "requirements" / "ray-cluster.txt").read_text()
    assert re.search(rf"^ray==({re.escape(version)}) ", lock, re.MULTILINE)
    # From 2.53 on KubeRay's probes are HTTP; before, they were wget, which the image has not.
    assert tuple(map(int, version.split(".")[:2])) >= (2, 53)


@pytest.mark.parametrize("folder", ["overlays/bulk-objects", "ray"])
def test_no_key_of_a_store_stands_in_a_file(folder: str) -> None:
    for path in sorted(Path(K8S / folder).iterdir()):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert not re.search(r"ACCESS_KEY|SECRET_|TOKEN", "\n".join(lines)), path
    assert "secretRef: {name: photo2cartoon-objects}" in "".join(
        path.read_text() for path in (K8S / folder).glob("*job.yaml")
    )
