"""The table: medians over the rounds, and what ours is beside the best peer and the bare loop."""

import itertools
from collections import Counter
from collections.abc import Callable
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.serving.results import Results, Row
from benchmarks.serving.systems import BARE, OURS, provider_of
from benchmarks.serving.tally import percentile_ms

MIB = 2**20
UNLOADED, SATURATION, LOADED, OVERLOADED = (
    "unloaded",
    "saturation",
    ["30 %", "60 %", "80 %"],
    ["2x", "4x"],
)
RUNTIMES = {"cpu": "ONNX Runtime", "openvino": "OpenVINO"}  # of peers, by provider

Figure = Callable[[Row], float | None]


def latency(percent: float) -> Figure:
    """A percentile (ms) of the right answers."""
    return lambda row: percentile_ms(row["latencies_s"], percent)


def refusal(percent: float) -> Figure:
    """A percentile (ms) of the time to a refusal."""
    return lambda row: percentile_ms(row["refusals_s"], percent)


def missed(row: Row) -> float:
    """Per cent of the requests without a good answer."""
    return 100 - 100 * float(row["outcomes"].get("good", 0)) / float(row["requests"])


def over_rounds(rows: list[Row], figure: Figure) -> float | None:
    """The median of a figure over the rounds that have it; None where none has."""
    values = [value for row in rows if (value := figure(row)) is not None]
    return median(values) if values else None


def pooled(rows: list[Row], name: str, percent: float) -> float | None:
    """A percentile (ms) over all rounds' seconds together."""
    return percentile_ms([value for row in rows for value in row[name]], percent)


def print_report(results: Results) -> None:
    """Print the table and the ratios."""
    console = Console(width=140)
    console.print(make_table(results))
    for line in make_ratios(results):
        console.print(line, highlight=False)


def make_table(results: Results) -> Table:
    """One column a system, one row a figure."""
    systems = results.systems()
    table = Table("median of the rounds", *systems)

    def add(label: str, point: str, *figures: Figure, form: str = ".0f") -> None:
        cells = []
        for system in systems:
            rows = results.find(system, point=point)
            cells.append(" / ".join(show(over_rounds(rows, figure), form) for figure in figures))
        table.add_row(label, *cells)

    add("unloaded p50, ms", UNLOADED, latency(50), form=".1f")
    add("saturation, photos/s", SATURATION, lambda row: row["throughput"], form=".2f")
    for point in LOADED:
        add(f"{point} load: p50 / p99, ms", point, latency(50), latency(99))
        cells = [show(pooled(results.find(s, point=point), "latencies_s", 99)) for s in systems]
        table.add_row("  p99 of all rounds together, ms", *cells)
        add("  without a good answer, %", point, missed, form=".1f")
    for point in OVERLOADED:
        add(f"{point} overload: goodput, /s", point, lambda row: row["goodput"], form=".2f")
        add("  refused after p50 / p99, ms", point, refusal(50), refusal(99), form=".1f")
        table.add_row("  answers", *(statuses(results.find(s, point=point)) for s in systems))
    for point in ("80 %", "4x"):
        add(
            f"PSS of all processes after {point}, MiB", point, lambda row: row["memory_bytes"] / MIB
        )
    add("generator, ms CPU a request", "80 %", lambda row: row["generator_ms"], form=".2f")
    add("generator, cores at 4x", "4x", lambda row: row["generator_cores"], form=".3f")
    add("sent late by p99 at 4x, ms", "4x", lambda row: row["lag_p99_ms"], form=".1f")
    for name in ("wrong", "lost"):
        counts = (sum(r.get("outcomes", {}).get(name, 0) for r in results.find(s)) for s in systems)
        table.add_row(f"{name}, all points", *map(str, counts))
    return table


def statuses(rows: list[Row]) -> str:
    """How many answers of each status, all rounds together."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row["statuses"])
    return ", ".join(f"{count} x {status}" for status, count in sorted(total.items()))


def show(value: float | None, form: str = ".0f") -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def make_ratios(results: Results) -> list[str]:
    """Ours beside the bare loop (round by round) and beside the best peer (of the medians)."""
    lines = []
    for kind in ("processes", "threads"):
        bare = {row["round"]: row[kind] for row in results.find(BARE)}
        ratios = [
            row["throughput"] / bare[row["round"]]
            for row in results.find(OURS, point=SATURATION)
            if row["round"] in bare
        ]
        if ratios:
            lines.append(
                f"bare loop, {kind}: {median(bare.values()):.2f} photos/s; "
                f"ours at saturation / bare: {median(ratios):.3f}"
            )
    for provider in RUNTIMES:
        lines.append(
            against_best(
                results, provider, SATURATION, "throughput", lambda r: r["throughput"], max
            )
        )
        lines += [
            against_best(results, provider, point, "goodput", lambda r: r["goodput"], max)
            for point in OVERLOADED
        ]
        lines += [
            against_best(results, provider, point, f"p{percent}", latency(percent), min)
            for point, percent in itertools.product(LOADED, (50, 99))
        ]
    return [line for line in lines if line]


def against_best(
    results: Results,
    provider: str,
    point: str,
    name: str,
    figure: Figure,
    best: Callable[[list[tuple[float, str]]], tuple[float, str]],
) -> str:
    """One line: ours over that of the best peer on `provider`; empty where one was not measured."""
    ours = over_rounds(results.find(OURS, point=point), figure)
    names = [s for s in results.systems() if s != OURS and provider_of(s, "") == provider]
    values = {s: over_rounds(results.find(s, point=point), figure) for s in names}
    peers = [(value, s) for s, value in values.items() if value is not None]
    if ours is None or not peers:
        return ""
    value, peer = best(peers)
    ratio = ours / value if value else float("inf")
    best_peer = f"best peer on {RUNTIMES[provider]}"
    return f"{point} {name}: ours / {best_peer} = {ours:.2f} / {value:.2f} ({peer}) = {ratio:.2f}"
