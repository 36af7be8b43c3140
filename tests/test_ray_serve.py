"""The example for Ray Serve, as far as it can be held without Ray, which only .venv-ray has."""

import json
import runpy
import sys
from types import ModuleType, SimpleNamespace

import pytest

from photo2cartoon.ground.settings import Settings
from tests.places import ROOT

EXAMPLE = ROOT / "examples" / "ray" / "service.py"


def test_a_replica_is_the_whole_service(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = ModuleType("ray")
    ray.serve = SimpleNamespace(  # type: ignore[attr-defined]
        ingress=lambda build: lambda: build,
        deployment=lambda build, **options: SimpleNamespace(bind=lambda: (build, options)),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    module = runpy.run_path(str(EXAMPLE))
    build, options = module["deployment"]
    described = json.loads((ROOT / "docs" / "openapi.json").read_text())
    assert build().openapi() == described
    assert options["ray_actor_options"] == {"num_cpus": module["CORES"]}
    assert options["max_ongoing_requests"] > Settings().max_queue + module["CORES"]


def test_the_documents_start_it_as_it_says() -> None:
    command = "serve run --working-dir . service:deployment"
    assert command in EXAMPLE.read_text()
    assert command in (ROOT / "docs" / "scaling.md").read_text()
