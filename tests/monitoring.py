"""What watches the service: rules, alerts and the dashboard's queries, as their files have them."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.places import ROOT

FOLDER = ROOT / "k8s" / "components" / "monitoring"
RULES = FOLDER / "rules.yaml"
DASHBOARD = FOLDER / "dashboard.json"
RUNBOOK = ROOT / "docs" / "runbook.md"


def rules() -> list[dict[str, Any]]:
    """Every rule of every group."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The rules that alert, by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def records() -> dict[str, str]:
    """The expressions that are recorded, by name."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return content


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without the titles of rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries(window: str = "5m") -> Iterator[tuple[str, str]]:
    """Each panel's title and one of its queries, with every variable at "All"."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], fill_in(target["expr"], window)


def fill_in(query: str, window: str) -> str:
    """Put values for Grafana's variables."""
    query = query.replace("$__rate_interval", window)
    return re.sub(r"\$(namespace|job|instance)\b", ".*", query)


def metrics_in(query: str) -> set[str]:
    """Names of the metrics that a PromQL expression asks for."""
    bare = re.sub(r'"[^"]*"', "", query)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|on|ignoring|without)\s*\([^)]*\)", " ", bare)
    words = set(re.findall(r"[a-zA-Z_:][\w:]*(?![\w:]|\s*\()", bare))
    return words - {"and", "or", "unless", "bool"}


def labels_in(query: str) -> set[str]:
    """Names of the labels that a PromQL expression selects or groups by."""
    selected = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", query)
    grouped = re.findall(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)", query)
    return {*selected, *(name.strip() for names in grouped for name in names.split(","))}
