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
CUSTOM = {
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
    "bulk": {"Job", "NetworkPolicy"},
}


def build(folder: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(call("kubectl", "kustomize", folder)))


@pytest.fixture(scope="module", params=KINDS)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[dict[str, Any]]]:
    """A name of `KINDS`, and its resources. `keda` is the cpu overlay with the other component."""
    name: str = request.param
    if name != "keda":
        return name, build(ROOT / "k8s" / name)
    copy = tmp_path_factory.mktemp("keda") / "k8s"
    shutil.copytree(ROOT / "k8s", copy)
    overlay = copy / "overlays" / "cpu" / "kustomization.yaml"
    text = overlay.read_text()
    overlay.write_text(text.replace("- ../../components/hpa", "- ../../components/keda"))
    return name, build(overlay.parent)


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
    pods = [pod for resource in built[1] for pod in pod_specs(resource)]
    assert len(pods) == 1
    assert violations(pods[0]) == our_violations(pods[0]) == set()


def test_the_pods_have_the_settings_and_an_image_with_a_tag(built: Built) -> None:
    name, resources = built
    (pod,) = (pod for resource in resources for pod in pod_specs(resource))
    (container,) = pod["containers"]
    if name != "base":
        assert container["image"].rpartition(":")[2] == "0.1.0"
    if name == "bulk":
        return
    settings = next(r for r in resources if r["metadata"]["name"].startswith("photo2cartoon-set"))
    (source,) = container["envFrom"]
    assert source["configMapRef"]["name"] == settings["metadata"]["name"]
    assert settings["metadata"]["name"] != "photo2cartoon-settings"  # a hash: changes roll the pods
    assert settings["data"]["P2C_DRAIN_DELAY_S"] == "5"


def test_whoever_scales_owns_the_number_of_pods(built: Built) -> None:
    name, resources = built
    if name == "bulk":
        return
    replicas = one(resources, "Deployment")["spec"].get("replicas")
    assert replicas == (2 if name == "base" else None)


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
