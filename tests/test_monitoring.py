"""Rules, runbook and dashboard fit each other and the metrics that the service really has.

What needs a real Prometheus is in tests/ops.
"""

import json
import re
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from photo2cartoon.telemetry.metrics import TIME_BUCKETS
from tests.monitoring import (
    DASHBOARD,
    FOLDER,
    RULES,
    RUNBOOK,
    alerts,
    dashboard,
    labels_in,
    metrics_in,
    panel_queries,
    panels,
    records,
    rules,
)
from tests.places import ROOT

SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
FROM_PROMETHEUS = {"up", "ALERTS"}
TARGET_LABELS = {"namespace", "job", "instance", "pod", "le", "alertname", "alertstate"}

QUERIES = [
    *((rule.get("record") or rule["alert"], rule["expr"]) for rule in rules()),
    *panel_queries(),
]


@pytest.fixture
def exported(client: TestClient) -> tuple[set[str], set[str]]:
    """Names of all series, and of all labels, that `/metrics` has."""
    names = {
        "p2c_gpu_memory_used_bytes",
        "p2c_gpu_memory_bytes",
    }  # tests/app/telemetry/test_metrics.py
    labels = {"model"}  # of the batchers, which a service without batches has none of
    for family in text_string_to_metric_families(client.get("/metrics").text):
        names |= {family.name + suffix for suffix in SUFFIXES.get(family.type, [""])}
        labels |= {label for sample in family.samples for label in sample.labels}
    return names, labels


def test_words_of_a_query() -> None:
    query = 'sum by (a, le) (rate(p2c_x_total{b="c_d",e!~"f"}[5m])) / on (g) p2c:h:i > 14.4 * 0.5'
    assert metrics_in(query) == {"p2c_x_total", "p2c:h:i"}
    assert labels_in(query) == {"a", "le", "b", "e", "g"}


@pytest.mark.parametrize(("name", "query"), QUERIES)
def test_queries_ask_for_what_there_is(
    name: str, query: str, exported: tuple[set[str], set[str]]
) -> None:
    names, labels = exported
    assert metrics_in(query)
    assert metrics_in(query) <= names | records().keys() | FROM_PROMETHEUS
    assert labels_in(query) <= labels | TARGET_LABELS
    for edge in re.findall(r'le="(.*?)"', query):
        assert float(edge) in TIME_BUCKETS


def test_every_metric_of_ours_is_on_the_dashboard(exported: tuple[set[str], set[str]]) -> None:
    asked = set().union(*(metrics_in(query) for _, query in panel_queries()))
    asked |= set().union(*(metrics_in(expr) for name, expr in records().items() if name in asked))
    asked = {re.sub("_(total|bucket|sum|count|created)$", "", name) for name in asked}
    ours = {re.sub("_(total|bucket|sum|count|created)$", "", name) for name in exported[0]}
    assert {name for name in ours if name.startswith("p2c_")} <= asked


def test_the_operators_rules_are_the_plain_ones() -> None:
    wrapped = yaml.safe_load((FOLDER / "prometheusrule.yaml").read_text())
    assert wrapped["spec"] == yaml.safe_load(RULES.read_text()), "call `make rules`"


def test_every_alert_has_its_entry_in_the_runbook() -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert headings
    assert sorted(headings) == sorted(alerts())
    for name, rule in alerts().items():
        link = rule["annotations"]["runbook_url"]
        assert link == f"{RUNBOOK.relative_to(ROOT)}#{name.lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]


def test_an_entry_says_what_it_means_where_to_look_and_what_to_do() -> None:
    titles = {panel["title"] for panel in panels()}
    for entry in RUNBOOK.read_text().split("\n## ")[1:]:
        words = re.findall(r"^(Means|Look at|Do): ", entry, re.MULTILINE)
        assert words == ["Means", "Look at", "Do"], entry
        named = {re.sub(r"\s+", " ", title) for title in re.findall(r"\*([A-Z][^*]+)\*", entry)}
        assert named <= titles


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    unit = panel["fieldConfig"]["defaults"].get("unit") or panel["options"]["yAxis"]["unit"]
    assert unit
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    content = dashboard()
    assert json.loads(DASHBOARD.read_text())["schemaVersion"] >= 38  # Grafana 10's
    names = [variable["name"] for variable in content["templating"]["list"]]
    assert names == ["datasource", "namespace", "job", "instance"]
    every = content["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, place["y"] + y) for x in columns for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert columns.stop <= 24
        taken |= cells
    variables = set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text()))
    assert variables <= {*names, "__rate_interval", "__all"}


def test_alerts_on_the_objectives_use_the_workbooks_rates() -> None:
    for kind, budget in (("Availability", "0.005"), ("Latency", "0.01")):
        for speed, rate in (("Fast", "14.4"), ("Slow", "6")):
            expr = alerts()[f"P2C{kind}Burn{speed}"]["expr"]
            assert re.findall(r"> (\S+) \* (\S+)", expr) == [(rate, budget)] * 2


def test_the_autoscalers_ask_for_what_there_is(exported: tuple[set[str], set[str]]) -> None:
    names = exported[0] | records().keys()
    adapter = yaml.safe_load((ROOT / "k8s/components/hpa/adapter.yaml").read_text())["rules"]
    hpa = yaml.safe_load((ROOT / "k8s/components/hpa/hpa.yaml").read_text())["spec"]
    offered = {rule["name"]["as"] for rule in adapter}
    assert {metric["pods"]["metric"]["name"] for metric in hpa["metrics"]} == offered
    for rule in adapter:
        assert metrics_in(rule["seriesQuery"]) <= names
        query = re.sub(r"<<\.\w+>>", "pod", rule["metricsQuery"].replace(",<<.LabelMatchers>>", ""))
        assert metrics_in(query) <= names
    keda = yaml.safe_load((ROOT / "k8s/components/keda/scaledobject.yaml").read_text())["spec"]
    for trigger in keda["triggers"]:
        assert metrics_in(trigger["metadata"]["query"]) <= names
    bounds = (keda["minReplicaCount"], keda["maxReplicaCount"])
    assert bounds == (hpa["minReplicas"], hpa["maxReplicas"])
    assert keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == hpa["behavior"]
