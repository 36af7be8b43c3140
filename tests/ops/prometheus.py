"""A real Prometheus on this machine, with the project's rules in a quick form."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import httpx2
import yaml

from tests.monitoring import RULES
from tests.ops.tools import find

MINUTE_S = 2  # a minute of the rules takes two seconds here: windows and `for` alike
SECONDS = {"m": MINUTE_S, "h": 60 * MINUTE_S}


def quicken(text: str) -> str:
    """Shorten every window, `[5m]`, and every `for: 5m`; thresholds stay."""
    short = lambda match: f"{match[1]}{int(match[2]) * SECONDS[match[3]]}s"  # noqa: E731
    return re.sub(r"(\[|\bfor: )(\d+)([mh])\b", short, text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Any], seconds: float = 90) -> None:
    """Wait until `condition()` is true; it says what it saw last if it never is."""
    deadline = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        time.sleep(0.2)


class Prometheus:
    """Scrapes and evaluates once a second; each target is a namespace of its own."""

    def __init__(self, folder: Path) -> None:
        """Start it with its files in `folder`."""
        self.folder = folder
        (folder / "rules.yaml").write_text(quicken(RULES.read_text()))
        targets = {"files": ["targets.json"], "refresh_interval": "1s"}
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "photo2cartoon", "file_sd_configs": [targets]}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        self.targets: dict[str, str] = {}
        self._write_targets()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [
                find("prometheus"),
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_for(self._is_ready)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return httpx2.get(f"{self.url}/-/ready").status_code == 200
        except httpx2.HTTPError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._log.close()

    def scrape(self, namespace: str, url: str) -> None:
        """Scrape the service at `url` from now on."""
        self.targets[namespace] = url.removeprefix("http://")
        self._write_targets()

    def _write_targets(self) -> None:
        content = [
            {
                "targets": [address],
                "labels": {"namespace": name, "instance": name, "pod": f"{name}-0"},
            }
            for name, address in self.targets.items()
        ]
        new = self.folder / "targets.new"
        new.write_text(json.dumps(content))
        new.replace(self.folder / "targets.json")

    def query(self, query: str, moment: float | None = None) -> list[dict[str, Any]]:
        """Evaluate PromQL, now or at a past moment (s since 1970); the samples."""
        asked = {"query": query} | ({} if moment is None else {"time": str(moment)})
        answer = httpx2.get(f"{self.url}/api/v1/query", params=asked).json()
        assert answer["status"] == "success", (query, answer)
        samples: list[dict[str, Any]] = answer["data"]["result"]
        return samples

    def fired(self, namespace: str) -> set[str]:
        """Names of the alerts that have fired there so far."""
        series = f'ALERTS{{alertstate="firing",namespace="{namespace}"}}'
        samples = self.query(f"max_over_time({series}[1h])")
        return {sample["metric"]["alertname"] for sample in samples}

    def has_fired(self, namespace: str, names: Iterable[str]) -> None:
        """Wait until all of these have fired."""
        wait_for(lambda: set(names) <= self.fired(namespace))
