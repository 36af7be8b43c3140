"""Images, compose file and Kubernetes manifests, as far as they can be held without their tools.

What needs kubectl, hadolint or the schemas is in tests/ops.
"""

import copy
import math
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from photo2cartoon.api.server import LAST_JOBS_S
from photo2cartoon.ground.settings import Settings
from photo2cartoon_models.training.config import load_config
from tests.places import ROOT
from tests.pod_security import our_violations, pod_specs, violations

CLOSE_S = 10  # photo2cartoon.engine.lanes.Lanes.close waits that long for threads
TRAINING = ROOT / "k8s" / "training"  # applied file by file (docs/training.md)
MANIFESTS = sorted(p for p in (ROOT / "k8s").rglob("*.yaml") if p.parent != TRAINING)
PLAIN = ("rules.yaml", "adapter.yaml", "names.yaml")  # of other programs than Kubernetes
BASE = ROOT / "k8s" / "base"
IMAGES = [ROOT / "Dockerfile", ROOT / "docker" / "gpu.Dockerfile"]


def resources() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every whole resource of k8s/; an overlay's patches are none."""
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            if "kind" in document and path.parent.parent.name != "overlays":
                yield path, document


PODS = [(path, pod) for path, resource in resources() for pod in pod_specs(resource)]


def deployment() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((BASE / "deployment.yaml").read_text())["spec"]
    return spec


def read_env(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_manifests_are_yaml_with_a_kind(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        assert {"apiVersion", "kind"} <= document.keys() or path.name in PLAIN


def test_every_manifest_is_used() -> None:
    for path in [*MANIFESTS, *(ROOT / "k8s").rglob("*.env"), *(ROOT / "k8s").rglob("*.json")]:
        if path.name in ("kustomization.yaml", "rules.yaml", "adapter.yaml"):
            continue
        assert path.name in (path.parent / "kustomization.yaml").read_text(), path


def test_pods_keep_the_restricted_level() -> None:
    for path, pod in PODS:
        assert violations(pod) == our_violations(pod) == set(), path


def test_there_are_pods() -> None:
    assert {path.parent.name for path, _ in PODS} == {"base", "bulk", "kserve", "ray"}


@pytest.mark.parametrize("name", ["job.yaml", "pytorchjob.yaml", "rayjob.yaml"])
def test_training_pods_keep_the_restricted_level_and_their_words_are_known(name: str) -> None:
    resource = yaml.safe_load((TRAINING / name).read_text())
    pods = list(pod_specs(resource))
    assert pods
    assert all(violations(pod) == set() for pod in pods)
    entrypoint = resource["spec"].get("entrypoint")
    words = shlex.split(entrypoint) if entrypoint else pods[0]["containers"][0]["args"]
    (file,) = (word.partition("=")[2] for word in words if word.startswith("--config-file="))
    config = load_config(file, words[words.index("-o") + 1 :])
    assert config.output_dir == Path("/data/run")
    mounts = [mount["mountPath"] for mount in pods[-1]["containers"][0]["volumeMounts"]]
    assert sorted(mounts) == ["/data", "/dev/shm", "/tmp"]


@pytest.mark.parametrize(
    ("field", "where", "value"),
    [
        ("hostNetwork", (), {"hostNetwork": True}),
        ("volumes.hostPath", (), {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}),
        ("runAsNonRoot", ("securityContext",), {"runAsNonRoot": False}),
        ("runAsUser", ("securityContext",), {"runAsUser": 0}),
        ("seccompProfile", ("securityContext",), {"seccompProfile": {"type": "Unconfined"}}),
        ("privileged", ("containers", 0, "securityContext"), {"privileged": True}),
        (
            "allowPrivilegeEscalation",
            ("containers", 0, "securityContext"),
            {"allowPrivilegeEscalation": True},
        ),
        ("capabilities.drop", ("containers", 0, "securityContext"), {"capabilities": {}}),
        (
            "capabilities.add",
            ("containers", 0, "securityContext", "capabilities"),
            {"add": ["NET_ADMIN"]},
        ),
        ("hostPort", ("containers", 0), {"ports": [{"containerPort": 1, "hostPort": 1}]}),
    ],
)
def test_the_check_finds_what_breaks_it(field: str, where: tuple[Any, ...], value: Any) -> None:
    pod = copy.deepcopy(deployment()["template"]["spec"])
    place = pod
    for step in where:
        place = place[step]
    place.update(value)
    assert violations(pod) == {field}


@pytest.mark.parametrize("path", sorted((ROOT / "k8s").rglob("settings.env")), ids=str)
def test_settings_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = read_env(path)
    assert "P2C_THREADS" not in values
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert Settings().model_dump(exclude_defaults=True)


def test_threads_follow_the_cpu_limit() -> None:
    for _, pod in PODS:
        for container in pod["containers"]:
            assert container["resources"]["limits"]["cpu"].isdecimal()
            assert all(item["name"] != "P2C_THREADS" for item in container.get("env", []))


def test_the_grace_period_covers_the_drain() -> None:
    settings = read_env(BASE / "settings.env")
    delay, grace = float(settings["P2C_DRAIN_DELAY_S"]), float(settings["P2C_GRACE_S"])
    needed = delay + math.ceil(grace) + LAST_JOBS_S + CLOSE_S
    pod = deployment()["template"]["spec"]
    assert needed + 5 <= pod["terminationGracePeriodSeconds"] <= 2 * needed
    # The endpoints' controllers and proxies have the drain's delay to learn of it.
    probe = pod["containers"][0]["readinessProbe"]
    assert delay >= probe["periodSeconds"]


def test_an_overlay_does_not_move_the_drain() -> None:
    for path in (ROOT / "k8s" / "overlays").rglob("*"):
        if path.is_file():
            assert not re.search(r"DRAIN|GRACE|terminationGrace", path.read_text()), path


def test_probes_ask_the_right_doors() -> None:
    (container,) = deployment()["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    for kind in ("startupProbe", "readinessProbe"):
        assert container[kind]["httpGet"]["path"] == "/readyz"
    ports = {port["name"] for port in container["ports"]}
    assert ports == {container[kind]["httpGet"]["port"] for kind in container if "Probe" in kind}


def test_selectors_meet_their_pods_only() -> None:
    labels = {path.parent.name: own for path, own in _pod_labels()}
    for path, resource in resources():
        spec = resource["spec"] if resource["kind"] not in ("Kustomization", "Component") else {}
        selector = spec.get("selector") or spec.get("podSelector")
        if not selector or path.parent.name == "monitoring":
            continue
        wanted = selector.get("matchLabels", selector)
        matched = {name for name, own in labels.items() if wanted.items() <= own.items()}
        assert matched == {path.parent.name}, path


def _pod_labels() -> Iterator[tuple[Path, dict[str, str]]]:
    for path, resource in resources():
        spec = resource.get("spec", {})
        spec = spec.get("rayClusterSpec", {}).get("headGroupSpec", spec)
        if list(pod_specs(resource)):  # KServe gives its object's own labels to the pods
            yield path, spec.get("template", resource)["metadata"]["labels"]


def test_the_bulk_job_has_one_shard_for_each_index() -> None:
    spec = yaml.safe_load((ROOT / "k8s" / "bulk" / "job.yaml").read_text())["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    shards = container["args"][container["args"].index("--shard") + 1]
    assert shards == f"$(JOB_COMPLETION_INDEX)/{spec['completions']}"
    codes = {
        rule["action"]: rule["onExitCodes"]["values"]
        for rule in spec["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    }
    assert codes == {"FailIndex": [1], "FailJob": [2]}  # `photo2cartoon bulk --help`
    assert spec["parallelism"] <= spec["completions"] == spec["maxFailedIndexes"]


def instructions(path: Path) -> list[tuple[str, str]]:
    """Instruction and rest of every step, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return [
        (name, rest.strip())
        for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


def last_stage(path: Path) -> list[tuple[str, str]]:
    steps = instructions(path)
    start = max(place for place, (name, _) in enumerate(steps) if name == "FROM")
    return steps[start + 1 :]


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_images_are_built_as_they_should(path: Path) -> None:
    steps = instructions(path)
    assert steps[0][0] == "ARG"
    assert steps[0][1].startswith("BASE=python:3.11-slim")
    assert [rest for name, rest in steps if name == "FROM"] == ["${BASE} AS build", "${BASE}"]
    last = last_stage(path)
    assert ("USER", "10001:10001") in last
    assert not [rest for name, rest in last if name == "RUN" and "pip" in rest]
    after_user = last[last.index(("USER", "10001:10001")) :]
    assert [name for name, _ in after_user if name in ("COPY", "ADD")] == []
    (environment,) = (rest for name, rest in last if name == "ENV")
    assert "MALLOC_ARENA_MAX=2" in environment
    assert "P2C_HOST=0.0.0.0" in environment
    (health,) = (rest for name, rest in last if name == "HEALTHCHECK")
    assert "/readyz" in health
    assert "curl" not in health
    text = path.read_text()
    assert "--require-hashes" in text
    locks = set(re.findall(r"LOCK=([\w-]+)", text))
    for name in re.findall(r"requirements/\S+\.txt", text):
        assert all((ROOT / name.replace("${LOCK}", lock)).exists() for lock in locks or {""})
    for install in re.findall(r"pip (?:--python \S+ )?install .*", text):
        assert "--require-hashes" in install or "--no-deps /build/photo2cartoon-" in install


def test_the_two_images_differ_in_their_runtime_only() -> None:
    cpu, gpu = map(last_stage, IMAGES)
    same = [step for step in cpu if step[0] not in ("ENV", "HEALTHCHECK")]
    assert same == [step for step in gpu if step[0] not in ("ENV", "HEALTHCHECK")]
    for kind in ("ENV", "HEALTHCHECK"):
        assert [name for name, _ in cpu].count(kind) == [name for name, _ in gpu].count(kind) == 1


def test_both_images_build_the_package_alike() -> None:
    cpu, gpu = map(wheel_steps, IMAGES)
    assert cpu == gpu
    copied = {source for name, rest in cpu if name == "COPY" for source in rest.split()[:-1]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    roots = project["tool"]["setuptools"]["packages"]["find"]["where"]
    texts = [project["project"]["readme"], *project["project"]["license-files"]]
    assert copied == {"requirements/build.txt", "pyproject.toml", *roots, *texts}


def wheel_steps(path: Path) -> list[tuple[str, str]]:
    """The end of the build stage, which makes the package's wheel and installs it."""
    steps = instructions(path)
    start = steps.index(("COPY", "requirements/build.txt /build/build.txt"))
    end = max(place for place, (name, _) in enumerate(steps) if name == "FROM")
    return steps[start:end]


def test_no_lock_holds_two_runtimes() -> None:
    """onnxruntime and onnxruntime-gpu write the same files: the later one would win, silently."""
    for path in (ROOT / "requirements").glob("*.txt"):
        names = set(re.findall(r"^(onnxruntime(?:-gpu)?)==", path.read_text(), re.MULTILINE))
        wanted = "onnxruntime-gpu" if path.name == "gpu.txt" else "onnxruntime"
        assert names <= {wanted}, path
        assert not re.search(r"^opencv-python==", path.read_text(), re.MULTILINE), path
    gpu = (ROOT / "requirements" / "gpu.txt").read_text()
    cpu = (ROOT / "requirements" / "cpu.txt").read_text()
    version = re.compile(r"^onnxruntime(?:-gpu)?==(\S+)", re.MULTILINE)
    assert version.findall(gpu) == version.findall(cpu) != []


def test_the_build_context_holds_what_the_images_copy() -> None:
    allowed = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    for path in IMAGES:
        for name, rest in instructions(path):
            if name == "COPY" and "--from" not in rest:
                sources = rest.split()[:-1]
                assert {source.split("/")[0] for source in sources} <= allowed


def test_compose_runs_the_service_hardened_and_watched() -> None:
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    service = compose["services"]["photo2cartoon"]
    assert service["read_only"] is True
    grace = math.ceil(float(service["environment"]["P2C_GRACE_S"]))
    assert int(service["stop_grace_period"].removesuffix("s")) >= grace + LAST_JOBS_S + CLOSE_S
    for name, one in compose["services"].items():
        assert one["cap_drop"] == ["ALL"], name
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / "docker" / source).is_file(), source
            else:
                assert source in compose["volumes"]
    prometheus = yaml.safe_load((ROOT / "docker" / "prometheus.yaml").read_text())
    (scrape,) = prometheus["scrape_configs"]
    assert scrape["job_name"] == "photo2cartoon"
    assert scrape["static_configs"][0]["targets"] == ["photo2cartoon:8000"]
    mounted = [v.split(":")[1] for v in compose["services"]["prometheus"]["volumes"]]
    assert f"/etc/prometheus/{prometheus['rule_files'][0]}" in mounted
    dashboards = yaml.safe_load((ROOT / "docker" / "grafana" / "dashboards.yaml").read_text())
    folder = dashboards["providers"][0]["options"]["path"]
    mounted = [v.split(":")[1] for v in compose["services"]["grafana"]["volumes"]]
    assert f"{folder}/photo2cartoon.json" in mounted
