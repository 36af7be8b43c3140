"""Logs are one JSON object a line."""

import json
import logging
import sys

from photo2cartoon.telemetry.logs import JsonFormatter


def test_a_line_holds_its_fields() -> None:
    record = logging.LogRecord("app.x", logging.INFO, "f", 1, "did %s", ("it",), None)
    record.fields = {"ms": 3}
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["logger"], line["event"], line["ms"]) == (
        "info",
        "app.x",
        "did it",
        3,
    )
    assert line["time"].endswith("+00:00")


def test_a_trace_stays_on_its_line() -> None:
    try:
        raise KeyError("x")
    except KeyError:
        record = logging.LogRecord("app", logging.ERROR, "f", 1, "bug", (), sys.exc_info())
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert "KeyError" in json.loads(text)["trace"]
