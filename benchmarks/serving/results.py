"""What was measured, as JSON lines that a killed run goes on from."""

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Results:
    """A file of JSON lines: one a system, round and point."""

    def __init__(self, path: Path) -> None:
        """Go on with `path`, or begin it."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[Row] = []
        if path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines()]

    def add(self, system: str, number: int, point: str, figures: Row) -> None:
        """Keep one point's figures, here and in the file."""
        row = {"system": system, "round": number, "point": point, **figures}
        self.rows.append(row)
        with self.path.open("a") as lines:
            lines.write(json.dumps(row) + "\n")

    def find(self, system: str, number: int | None = None, point: str | None = None) -> list[Row]:
        """The rows of a system, of one round and one point where given."""
        return [
            row
            for row in self.rows
            if row["system"] == system
            and number in (None, row["round"])
            and point in (None, row["point"])
        ]

    def systems(self) -> list[str]:
        """Every system under load, in the order of their names."""
        return sorted({row["system"] for row in self.rows if "outcomes" in row})
