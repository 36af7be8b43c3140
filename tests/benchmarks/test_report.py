"""Plan, results and table."""

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.serving.install import PEERS, STAGE_PACKAGES, peer_names, stage_pins
from benchmarks.serving.points import POINTS
from benchmarks.serving.process import Command
from benchmarks.serving.results import Results
from benchmarks.serving.systems import (
    BARE,
    DEADLINE_HEADER,
    OURS,
    list_systems,
    provider_of,
    start_command,
)
from benchmarks.serving.table import make_ratios, make_table

BY_NAME = {point.name: point for point in POINTS}


def row(**figures: object) -> dict[str, object]:
    return {
        "requests": 10,
        "outcomes": {"good": 9, "refused": 1},
        "statuses": {"200": 9, "503": 1},
        "latencies_s": [0.1] * 9,
        "refusals_s": [0.002],
        "generator_cores": 0.01,
        "generator_ms": 0.3,
        "lag_p99_ms": 1.0,
        "memory_bytes": 2**28,
        **figures,
    }


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(tmp_path / "new" / "results.jsonl")
    for number, factor in enumerate((1.0, 1.1, 1.3)):
        results.add(BARE, number, BARE, {"processes": 20 * factor, "threads": 16 * factor})
        results.add(OURS, number, "saturation", row(throughput=18 * factor))
        results.add("mosec_", number, "saturation", row(throughput=15 * factor))
        results.add("mosec_-openvino", number, "saturation", row(throughput=20 * factor))
        results.add(OURS, number, "2x", row(goodput=16.0))
        results.add("mosec_", number, "2x", row(goodput=8.0))
        results.add("lit_serve", number, "2x", row(goodput=4.0))
        results.add(OURS, number, "80 %", row(latencies_s=[0.1, 0.2]))
        results.add("mosec_", number, "80 %", row(latencies_s=[0.2, 0.4]))
    return results


def test_ratios_are_against_the_best_peer_and_the_bare_loop_of_the_round(results: Results) -> None:
    lines = make_ratios(results)
    assert "bare loop, processes: 22.00 photos/s; ours at saturation / bare: 0.900" in lines
    plain, same = "best peer on ONNX Runtime", "best peer on OpenVINO"
    assert f"saturation throughput: ours / {plain} = 19.80 / 16.50 (mosec_) = 1.20" in lines
    assert f"saturation throughput: ours / {same} = 19.80 / 22.00 (mosec_-openvino) = 0.90" in lines
    assert f"2x goodput: ours / {plain} = 16.00 / 8.00 (mosec_) = 2.00" in lines
    assert f"80 % p99: ours / {plain} = 199.00 / 398.00 (mosec_) = 0.50" in lines
    assert not any(line.startswith("4x") for line in lines)  # not measured, not claimed


def test_the_table_has_a_column_a_system(results: Results) -> None:
    table = make_table(results)
    systems = ["lit_serve", "mosec_", "mosec_-openvino", OURS]
    assert [column.header for column in table.columns][1:] == systems
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    assert "30 x" not in capture.get()
    assert "27 x 200, 3 x 503" in capture.get()


def test_a_killed_run_goes_on(results: Results) -> None:
    again = Results(results.path)
    assert again.rows == results.rows
    assert again.find(OURS, 1, "2x")
    assert not again.find("lit_serve", 1, "80 %")


def test_every_system_gets_the_same_arrivals_at_a_point() -> None:
    point = BY_NAME["60 %"]
    ours = point.load(Command([], 1, "/"), b"", 100, 24, 2, seed=7)
    theirs = point.load(Command([], 2, "/"), b"", 100, 24, 2, seed=7)
    assert ours.arrivals == theirs.arrivals
    assert len(ours.arrivals or []) == 100


def test_overload_takes_as_long_as_capacity_would() -> None:
    seconds = {name: point.seconds(240, 24, 2) for name, point in BY_NAME.items()}
    assert seconds["saturation"] == seconds["2x"] == seconds["4x"] == 10
    assert seconds["30 %"] == pytest.approx(33.3, abs=0.1)
    assert seconds["unloaded"] == 2.5
    assert BY_NAME["4x"].requests(240) == 960
    assert BY_NAME["unloaded"].connections(2) == 1
    assert BY_NAME["saturation"].connections(2) == 6


def test_peers_are_pinned_and_share_the_stages_packages() -> None:
    assert peer_names() == ["bento_ml", "lit_serve", "mosec_", "ray_serve"]
    for name in peer_names():
        assert (PEERS / f"{name}.py").exists()
        assert all("==" in line for line in (PEERS / f"{name}.txt").read_text().split())
    assert sorted(pin.partition("==")[0] for pin in stage_pins()) == sorted(STAGE_PACKAGES)


def test_only_installed_peers_take_part(tmp_path: Path) -> None:
    python = tmp_path / "mosec_" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert list_systems(tmp_path) == [OURS, "mosec_", "mosec_-openvino"]
    assert list_systems(None) == [OURS]
    ours = start_command(OURS, None, 8001, 2, deadline_s=0.4, work_s=0.08)
    assert ours.headers == {DEADLINE_HEADER: "400"}
    peer = start_command("mosec_", tmp_path, 8001, 2, deadline_s=0.4, work_s=0.08)
    assert peer.arguments[-4:] == ["8001", "2", "400", "80"]
    assert peer.environment["P2C_PROVIDER"] == "cpu"


def test_a_peer_on_openvino_is_the_same_peer_on_another_runtime(tmp_path: Path) -> None:
    plain, other = (
        start_command(name, tmp_path, 8001, 2, deadline_s=0.4, work_s=0.08)
        for name in ("mosec_", "mosec_-openvino")
    )
    assert other.arguments == plain.arguments
    assert other.environment["P2C_PROVIDER"] == "openvino"
    assert provider_of("mosec_-openvino", "cpu") == provider_of(OURS, "openvino") == "openvino"
