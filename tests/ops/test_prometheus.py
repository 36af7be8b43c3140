"""A real Prometheus scrapes real services: which alerts fire, and that every query has data.

Six services, each a namespace: `calm` under a light load for the whole time, `overload` with more
callers than it can serve, `dead` whose lane dies, `odd` whose generator fails now and then and says
it is on two execution providers, `restart` that keeps starting, `drain` that was told to stop.
The rules are the project's own with a minute shortened to two seconds; thresholds are untouched.
"""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import httpx2
import pytest
import yaml

from tests.fakes import KILL_A_LANE
from tests.monitoring import alerts, dashboard, fill_in, panel_queries, records
from tests.ops.prometheus import MINUTE_S, Prometheus, free_port, quicken, wait_for
from tests.places import ROOT
from tests.server import Server

CALLERS = 40

# After five seconds every other answer of the generator is not finite. It pretends to have a GPU.
ODD = """
import itertools, time
import numpy as np
from photo2cartoon.telemetry import metrics
from photo2cartoon.api import server
from photo2cartoon.runtime.device import Device
from photo2cartoon.runtime.gpu import Gpu
from photo2cartoon.runtime.network import OnnxNetwork

count, start = itertools.count(), time.monotonic()
load, run = OnnxNetwork.__init__, OnnxNetwork.run

def init(self, model, *where, **how):
    load(self, model, *where, **how)
    if model.role == "generator":
        self.nodes["CUDAExecutionProvider"] = 3

def fail_now_and_then(self, batch, ticket=None):
    outputs = run(self, batch, ticket)
    if self.model.role == "generator" and time.monotonic() > start + 5 and next(count) % 2 == 0:
        return [np.full_like(output, np.nan) for output in outputs]
    return outputs

def open_on_gpu(settings, open_pipeline=server.open_pipeline):
    pipeline = open_pipeline(settings)
    pipeline.device = Device("cuda")
    return pipeline

OnnxNetwork.__init__, OnnxNetwork.run = init, fail_now_and_then
server.open_pipeline = open_on_gpu
metrics.read_gpu = lambda device_id: Gpu("L4", "8.9", 3 << 30, 24 << 30)
from photo2cartoon.cli.main import main; main()
"""


class Caller(threading.Thread):
    """Calls again and again until it is told to stop."""

    def __init__(self, call: Callable[[httpx2.Client], object], pause_s: float) -> None:
        super().__init__(daemon=True)
        self._call, self._pause_s = call, pause_s
        self._stop_now = threading.Event()
        self.start()

    def run(self) -> None:
        with httpx2.Client(timeout=60) as client:
            while not self._stop_now.wait(self._pause_s):
                with suppress(httpx2.TransportError):  # refused while the photo was still sent
                    self._call(client)

    def stop(self) -> None:
        """Let it end after the call that is under way; nobody waits for that."""
        self._stop_now.set()


def draw(url: str, photo: bytes) -> Callable[[httpx2.Client], object]:
    headers = {"content-type": "image/jpeg"}
    return lambda client: client.post(f"{url}/cartoonize", content=photo, headers=headers)


def draw_three(url: str, photo: bytes) -> Callable[[httpx2.Client], object]:
    files = [("photo", ("photo", photo))] * 3
    return lambda client: client.post(f"{url}/cartoonize/batch", files=files)


def keep_starting(prometheus: Prometheus) -> None:
    """Start a service four times on one port, each until Prometheus has seen it."""
    seen: set[str] = set()
    port = str(free_port())  # the same for all: it is one instance

    def is_another() -> bool:
        samples = prometheus.query('process_start_time_seconds{namespace="restart"}')
        new = {sample["value"][1] for sample in samples} - seen
        seen.update(new)
        return bool(new)

    for _ in range(4):
        with Server(P2C_THREADS="1", P2C_PORT=port) as server:
            prometheus.scrape("restart", server.url)
            wait_for(is_another)


@dataclass(frozen=True)
class Observed:
    """A Prometheus that has seen it all, and the moment when everything was under way."""

    prometheus: Prometheus
    moment: float


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, photo: bytes) -> Iterator[Observed]:
    with ExitStack() as stack:
        prometheus = stack.enter_context(Prometheus(tmp_path_factory.mktemp("prometheus")))

        def serve(namespace: str, **settings: str) -> Server:
            server = stack.enter_context(Server(**settings))
            prometheus.scrape(namespace, server.url)
            return server

        def load(call: Callable[[httpx2.Client], object], pause_s: float) -> None:
            stack.callback(Caller(call, pause_s).stop)

        calm = serve("calm", P2C_THREADS="1")
        load(draw(calm.url, photo), 0.5)
        load(draw(calm.url, b"no picture"), 1)
        dead = serve("dead", program=KILL_A_LANE, P2C_THREADS="2")
        dead.process.send_signal(signal.SIGUSR1)
        prometheus.has_fired("dead", {"P2CDead"})
        dead.stop()
        prometheus.has_fired("dead", {"P2CTargetDown"})
        on_onnx_runtime = {"P2C_PROVIDER": "cpu", "P2C_MAX_BATCH": "4"}
        odd = serve("odd", program=ODD, P2C_THREADS="1", **on_onnx_runtime)
        load(draw_three(odd.url, photo), 1)
        prometheus.has_fired("odd", {"P2CModelFallback", "P2CProviderFallback"})
        keep_starting(prometheus)
        prometheus.has_fired("restart", {"P2CRestarting"})
        drain = serve("drain", P2C_THREADS="1", P2C_DRAIN_DELAY_S="600")
        wait_for(lambda: prometheus.query('p2c_ready{namespace="drain"} == 1'))
        drain.process.send_signal(signal.SIGTERM)
        overload = serve("overload", P2C_THREADS="1", P2C_MAX_QUEUE="30")
        for _ in range(CALLERS):
            load(draw(overload.url, photo), 0.2)
        prometheus.has_fired("drain", {"P2CNotReady"})
        wanted = {"P2CSaturated", "P2CShedding", "P2CAvailabilityBurnFast", "P2CLatencyBurnFast"}
        prometheus.has_fired("overload", wanted)
        moment = time.time()
        drain.process.kill()
        yield Observed(prometheus, moment)


def test_a_calm_service_alerts_nobody(observed: Observed) -> None:
    assert observed.prometheus.fired("calm") == set()
    rate = 'p2c:requests:rate5m{namespace="calm",outcome="ok"}'
    (sample,) = observed.prometheus.query(rate, observed.moment)
    assert float(sample["value"][1]) > 0.5


def test_an_overload_is_called_what_it_is(observed: Observed) -> None:
    fired = observed.prometheus.fired("overload")
    assert {"P2CSaturated", "P2CShedding", "P2CAvailabilityBurnFast"} <= fired
    assert not fired & {"P2CDead", "P2CTargetDown", "P2CNotReady", "P2CModelFallback"}


def test_a_dead_worker_is_called_what_it_is(observed: Observed) -> None:
    fired = observed.prometheus.fired("dead")
    assert {"P2CDead", "P2CTargetDown"} <= fired
    assert not fired & {"P2CNotReady", "P2CSaturated", "P2CShedding", "P2CAvailabilityBurnFast"}


def test_fallbacks_restarts_and_drains_are_seen(observed: Observed) -> None:
    assert {"P2CModelFallback", "P2CProviderFallback"} <= observed.prometheus.fired("odd")
    assert "P2CRestarting" in observed.prometheus.fired("restart")
    assert "P2CNotReady" in observed.prometheus.fired("drain")


def without_thresholds(query: str) -> str:
    """Turn comparisons into 0 or 1, so that a query has data also where nothing is wrong."""
    parts = re.split(r"(\{[^}]*\})", query)
    return "".join(
        part if part.startswith("{") else re.sub(r"(==|!=|>=|<=|>|<)", r"\1 bool", part)
        for part in parts
    )


def has_data(observed: Observed, query: str) -> bool:
    return bool(observed.prometheus.query(query, observed.moment))


@pytest.mark.parametrize("name", records())
def test_every_recording_rule_has_data(observed: Observed, name: str) -> None:
    assert has_data(observed, f'{name}{{namespace="calm"}}')


@pytest.mark.parametrize("name", alerts())
def test_every_alerts_expression_has_data(observed: Observed, name: str) -> None:
    assert has_data(observed, quicken(without_thresholds(alerts()[name]["expr"])))


@pytest.mark.parametrize(("title", "query"), [*panel_queries(f"{5 * MINUTE_S}s")])
def test_every_query_of_the_dashboard_has_data(observed: Observed, title: str, query: str) -> None:
    assert has_data(observed, quicken(query)), query


def test_the_dashboards_variables_and_marks_have_data(observed: Observed) -> None:
    (mark,) = dashboard()["annotations"]["list"]
    assert has_data(observed, fill_in(mark["expr"], "10s"))
    for variable in dashboard()["templating"]["list"][1:]:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert match
        series = observed.prometheus.query(fill_in(match[1], "10s"), observed.moment)
        assert series
        assert all(sample["metric"][match[2]] for sample in series)


def test_the_autoscalers_figures_have_data(observed: Observed) -> None:
    rules = yaml.safe_load((ROOT / "k8s/components/hpa/adapter.yaml").read_text())["rules"]
    keda = yaml.safe_load((ROOT / "k8s/components/keda/scaledobject.yaml").read_text())
    values = {}
    for rule in rules:
        assert has_data(observed, rule["seriesQuery"])
        query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
        query = query.replace("<<.LabelMatchers>>", 'namespace="overload"')
        (sample,) = observed.prometheus.query(quicken(query), observed.moment)
        assert sample["metric"] == {"pod": "overload-0"}
        values[rule["name"]["as"]] = float(sample["value"][1])
    targets = {"p2c_queue_wait_predicted_seconds": 0.5, "p2c_lanes_busy_ratio": 0.7}
    assert all(values[name] > target for name, target in targets.items())
    for trigger in keda["spec"]["triggers"]:
        query = trigger["metadata"]["query"].replace('"default"', '"overload"')
        (sample,) = observed.prometheus.query(quicken(query), observed.moment)
        assert float(sample["value"][1]) > float(trigger["metadata"]["threshold"])
