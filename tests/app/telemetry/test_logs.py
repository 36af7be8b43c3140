"""Logs are one JSON object a line."""

import json
import logging
import subprocess
import sys

import pytest

from photo2cartoon.telemetry.logs import JsonFormatter
from tests.places import ROOT


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


# Writes as a C library does, more than a pipe holds, with Python's lock; then as Python does.
NATIVE = """
import ctypes, logging, sys, time, warnings
from photo2cartoon.telemetry.logs import capture_native_stderr, configure_logs

capture_native_stderr()
configure_logs("{level}")
write = ctypes.PyDLL(None).write
line = b"TIFFReadDirectory: a warning of about 50 bytes\\n"
for _ in range(3_000):
    write(2, line, len(line))
warnings.warn_explicit("tag 7", UserWarning, "TiffImagePlugin.py", 1, "PIL.TiffImagePlugin")
logging.getLogger("PIL.PngImagePlugin").error("the caller's text")
warnings.warn("of ours")
time.sleep(0.5)
print("and Python's own", file=sys.stderr)
"""


@pytest.mark.parametrize("level", ["info", "debug"])
def test_what_libraries_write_past_python_is_logged_or_silenced(level: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NATIVE.replace("{level}", level)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *lines, last = done.stderr.splitlines()
    assert last == "and Python's own"
    events = [json.loads(line) for line in lines]
    loggers = {event["logger"] for event in events if event["level"] == "warning"}
    assert loggers == {"py.warnings"}
    assert "PIL" not in done.stderr
    assert "caller's text" not in done.stderr
    texts = [event["text"] for event in events if event["event"] == "a library says"]
    assert bool(texts) is (level == "debug")
    assert all(text.startswith("TIFFReadDirectory") for text in texts)
