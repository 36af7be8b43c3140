"""Every overlay as kubectl builds it, held against the schemas and the Pod Security level."""

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from photo2cartoon_models.manifest import load_manifest
from tests.ops.tools import call
from tests.places import ROOT
from tests.pod_security import our_violations, pod_specs, violations

KUBERNETES = "1.37"
# Kinds of other projects, which no package for Python 3.11 has schemas of: their versions at least.
# tests/test_many_pods.py holds more of their contracts.
CUSTOM = {
    "BackendTrafficPolicy": "gateway.envoyproxy.io/v1alpha1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "InferenceService": "serving.kserve.io/v1beta1",
    "RayJob": "ray.io/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "ScaledObject": "keda.sh/v1alpha1",
}
SERVICE = {"Deployment", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"}
WATCHED = {*SERVICE, "ServiceMonitor", "PrometheusRule"}
KINDS = {
    "base": SERVICE,
    "overlays/cpu": {*WATCHED, "HorizontalPodAutoscaler"},
    "overlays/gpu": {*WATCHED, "HorizontalPodAutoscaler"},
    "keda": {*WATCHED, "ScaledObject"},
    "gateway": {*WATCHED, "HorizontalPodAutoscaler", "HTTPRoute", "BackendTrafficPolicy"},
    "bulk": {"Job", "NetworkPolicy"},
    "overlays/bulk-objects": {"ConfigMap", "Job", "NetworkPolicy"},
    "kueue": {"ConfigMap", "Job", "NetworkPolicy"},
    "kserve": {"InferenceService", "NetworkPolicy"},
    "ray": {"ConfigMap", "NetworkPolicy", "RayJob"},
}
# Overlays with another component: a line of the overlay, and what stands in its place.
CHANGED = {
    "keda": ("cpu", "- ../../components/hpa", "- ../../components/keda"),
    "gateway": ("cpu", "components:\n", "components:\n  - ../../components/gateway\n"),
    "kueue": (
        "bulk-objects",
        "patches:\n",
        "components:\n  - ../../components/kueue\npatches:\n",
    ),
}
SERVING = {"base", "overlays/cpu", "overlays/gpu", "keda", "gateway"}


def build(folder: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(call("kubectl", "kustomize", folder)))


def build_with(name: str, folder: Path) -> list[dict[str, Any]]:
    """Build an entry of `CHANGED`, on a copy in `folder`."""
    overlay, line, other = CHANGED[name]
    copy = shutil.copytree(ROOT / "k8s", folder / "k8s")
    path = copy / "overlays" / overlay / "kustomization.yaml"
    text = path.read_text()
    assert text.count(line) == 1
    path.write_text(text.replace(line, other))
    return build(path.parent)


@pytest.fixture(scope="module", params=KINDS)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[dict[str, Any]]]:
    """A name of `KINDS`, and its resources."""
    name: str = request.param
    if name in CHANGED:
        return name, build_with(name, tmp_path_factory.mktemp(name))
    return name, build(ROOT / "k8s" / name)


Built = tuple[str, list[dict[str, Any]]]


def one(resources: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (resource for resource in resources if resource["kind"] == kind)
    return found


def test_it_holds_what_it_should(built: Built) -> None:
    name, resources = built
    assert {resource["kind"] for resource in resources} == KINDS[name]


def test_every_resource_keeps_its_schema(built: Built) -> None:
    for resource in built[1]:
        if version := CUSTOM.get(resource["kind"]):
            assert resource["apiVersion"] == version
        else:
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_a_resource_that_breaks_its_schema_is_found() -> None:
    broken = one(build(ROOT / "k8s" / "base"), "Deployment")
    broken["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


def test_pods_keep_the_restricted_level(built: Built) -> None:
    name, resources = built
    pods = [pod for resource in resources for pod in pod_specs(resource)]
    assert len(pods) == (2 if name == "ray" else 1)  # the head's, and the workers'
    for pod in pods:
        assert violations(pod) == our_violations(pod) == set()


def test_the_pods_have_the_settings_and_an_image_with_a_tag(built: Built) -> None:
    name, resources = built
    pods = [pod for resource in resources for pod in pod_specs(resource)]
    containers = [container for pod in pods for container in pod["containers"]]
    if name != "base":
        assert {container["image"].rpartition(":")[2] for container in containers} == {"0.1.0"}
    if name not in SERVING:
        return
    (container,) = containers
    settings = next(r for r in resources if r["metadata"]["name"].startswith("photo2cartoon-set"))
    (source,) = container["envFrom"]
    assert source["configMapRef"]["name"] == settings["metadata"]["name"]
    assert settings["metadata"]["name"] != "photo2cartoon-settings"  # a hash: changes roll the pods
    assert settings["data"]["P2C_DRAIN_DELAY_S"] == "5"


def test_whoever_scales_owns_the_number_of_pods(built: Built) -> None:
    name, resources = built
    if name not in SERVING:
        return
    replicas = one(resources, "Deployment")["spec"].get("replicas")
    assert replicas == (2 if name == "base" else None)


@pytest.mark.parametrize("name", ["overlays/bulk-objects", "ray"])
def test_objects_are_reached_by_keys_of_a_secret_and_nothing_else_is(name: str) -> None:
    resources = build(ROOT / "k8s" / name)
    settings = one(resources, "ConfigMap")["metadata"]["name"]
    assert settings.startswith("photo2cartoon-objects-")  # a hash: what names it names this one
    for pod in (pod for resource in resources for pod in pod_specs(resource)):
        sources = pod["containers"][0]["envFrom"]
        assert {"configMapRef": {"name": settings}} in sources
        assert {"secretRef": {"name": "photo2cartoon-objects"}} in sources
    egress = one(resources, "NetworkPolicy")["spec"]["egress"]
    outside = [rule for rule in egress if any("ipBlock" in to for to in rule["to"])]
    assert [rule["ports"] for rule in outside] == [[{"port": 443}]]
    (block,) = (to["ipBlock"] for to in outside[0]["to"])
    assert "169.254.0.0/16" in block["except"]  # a cloud's metadata service
    assert any({"port": 53, "protocol": "UDP"} in rule.get("ports", []) for rule in egress)


def test_bulk_from_a_store_is_the_same_job_without_a_volume() -> None:
    volume, store = (
        one(build(ROOT / "k8s" / name), "Job") for name in ("bulk", "overlays/bulk-objects")
    )
    (pod,) = pod_specs(store)
    (container,) = pod["containers"]
    assert not pod["volumes"]
    assert not container["volumeMounts"]
    assert [place.partition("://")[0] for place in container["args"][1:3]] == ["s3", "s3"]
    for job in (volume, store):
        del job["spec"]["template"]["spec"]
    assert store == volume  # indexes, their restarts and what exit codes mean
    (other,) = pod_specs(one(build(ROOT / "k8s" / "bulk"), "Job"))
    assert container["args"][3:] == other["containers"][0]["args"][3:]  # the shards


def test_kueue_gets_a_job_that_waits(tmp_path: Path) -> None:
    job = one(build_with("kueue", tmp_path), "Job")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "photo2cartoon"
    assert job["spec"]["suspend"] is True
    least = int(job["metadata"]["annotations"]["kueue.x-k8s.io/job-min-parallelism"])
    assert 1 <= least < job["spec"]["parallelism"]  # Kueue refuses anything else


def test_the_gpu_overlay_asks_for_one_gpu_and_its_generator() -> None:
    resources = build(ROOT / "k8s" / "overlays" / "gpu")
    deployment = one(resources, "Deployment")["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    settings = next(r for r in resources if r["metadata"]["name"].startswith("photo2cartoon-set"))
    assert load_manifest()[settings["data"]["P2C_GENERATOR"]].role == "generator"
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_the_dashboard_and_the_rules_arrive_whole() -> None:
    resources = build(ROOT / "k8s" / "overlays" / "cpu")
    monitoring = ROOT / "k8s" / "components" / "monitoring"
    dashboard = next(r for r in resources if r["metadata"]["name"] == "photo2cartoon-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"]["photo2cartoon.json"] == (monitoring / "dashboard.json").read_text()
    rules = yaml.safe_load((monitoring / "rules.yaml").read_text())
    assert one(resources, "PrometheusRule")["spec"] == rules
    service, monitor = one(resources, "Service"), one(resources, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
    assert service["metadata"]["name"] == "photo2cartoon"  # the label `job` that the rules ask for
