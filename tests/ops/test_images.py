"""Images and compose files, as their own tools see them."""

import pytest

from tests.ops.tools import call
from tests.places import ROOT


@pytest.mark.parametrize("name", ["Dockerfile", "docker/gpu.Dockerfile"])
def test_hadolint_has_nothing_to_say(name: str) -> None:
    assert call("hadolint", "--failure-threshold", "style", ROOT / name) == ""


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_keep_the_schema(name: str) -> None:
    path = ROOT / "docker" / name
    call("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)
