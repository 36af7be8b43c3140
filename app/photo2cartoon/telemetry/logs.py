"""Logs: one JSON object per line, on stderr; never image data, file names or header values."""

import json
import logging
import os
import sys
import threading
import warnings
from datetime import UTC, datetime
from typing import IO, Any

# What these say is about a caller's file or form, at some levels with parts of it, and as often as
# the caller likes.
SILENCED = ("PIL", "python_multipart")

log = logging.getLogger("photo2cartoon.telemetry.logs")


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger, event, and what the call gave as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logs(level: str) -> None:
    """Send the lines of every logger to stderr as JSON, from `level` up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.captureWarnings(capture=True)  # or libraries' warnings stand as text between the lines
    warnings.filterwarnings("ignore", module=r"PIL\.")  # Python would remember each text for good
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def capture_native_stderr() -> None:
    """Log at level debug what libraries write past Python, as libtiff and libjpeg do.

    `sys.stderr` keeps writing where it did. To be called once, before `configure_logs`.
    """
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")
    reader, writer = os.pipe()
    # Who writes may hold Python's lock, which the thread needs to make room: a full pipe loses
    # lines instead of waiting.
    os.set_blocking(writer, False)
    os.dup2(writer, 2)
    os.close(writer)
    lines = os.fdopen(reader, encoding="utf-8", errors="replace")
    threading.Thread(target=_log_lines, args=(lines,), name="native-stderr", daemon=True).start()


def _log_lines(lines: IO[str]) -> None:
    while line := lines.readline(1_000):
        log.debug("a library says", extra={"fields": {"text": line.rstrip()}})
