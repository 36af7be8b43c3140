"""The rules as promtool sees them: well formed; each alert fires when it should and only then."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.monitoring import RULES, alerts, records
from tests.ops.tools import call
from tests.places import ROOT

UNIT_TESTS = sorted((Path(__file__).parent / "rules").glob("*.test.yaml"))


def test_promtool_takes_the_rules() -> None:
    said = call("promtool", "check", "rules", RULES)
    assert f"{len(alerts()) + len(records())} rules found" in said


def test_promtool_takes_the_compose_files_configuration(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yaml").write_text((ROOT / "docker" / "prometheus.yaml").read_text())
    (tmp_path / "rules.yaml").write_text(RULES.read_text())
    said = call("promtool", "check", "config", tmp_path / "prometheus.yaml")
    assert "1 rule files found" in said


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.name)
def test_unit_tests_of_the_rules(path: Path) -> None:
    assert "SUCCESS" in call("promtool", "test", "rules", path)


def test_every_alert_is_seen_firing_and_not_firing() -> None:
    fired, quiet = Counter[str](), Counter[str]()
    for path in UNIT_TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for check in test.get("alert_rule_test", []):
                (fired if check["exp_alerts"] else quiet)[check["alertname"]] += 1
    assert set(fired) == set(quiet) == set(alerts())
