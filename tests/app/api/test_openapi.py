"""What programs are told of the interface: whole, and the same as what is committed."""

import json
from typing import Any

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.settings import Settings
from tests.places import ROOT

SNAPSHOT = ROOT / "docs" / "openapi.json"


def described() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def references(part: Any) -> set[str]:
    """Every `$ref` in a part of the description."""
    if isinstance(part, list):
        return {name for one in part for name in references(one)}
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
    return own | {name for one in part.values() for name in references(one)}


def test_the_committed_description_is_that_of_the_service() -> None:
    committed, real = json.loads(SNAPSHOT.read_text()), described()
    assert committed["info"].pop("version")
    assert real["info"].pop("version")
    assert committed == real, "the interface has changed: write docs/openapi.json again"


def test_operations_have_names_of_their_own() -> None:
    operations = [one for path in described()["paths"].values() for one in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert {"cartoonize", "cartoonize_batch", "list_styles", "edit_image", "infer"} <= set(names)
    assert all(name.isidentifier() for name in names)


def test_every_reference_leads_to_a_component() -> None:
    whole = described()
    known = {f"#/components/schemas/{name}" for name in whole["components"]["schemas"]}
    assert references(whole["paths"])
    assert references(whole) <= known
    assert "#/components/schemas/HTTPValidationError" not in known
