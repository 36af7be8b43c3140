"""Metrics: what Prometheus is told (`GET /metrics`).

There are two kinds: events are counted where they happen (`Metrics.request`, `Metrics.photo`), and
the state of the engine is read when Prometheus asks. One process has one registry, whose children
are made once; every label has a closed set of values, each present from the start, so that `rate()`
sees the first event too. Probes and `/metrics` itself are not counted.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.styles import SIZES
from photo2cartoon.runtime.batcher import BUCKETS, Batcher
from photo2cartoon.runtime.gpu import read_gpu

PHOTO_ROUTES = ("/cartoonize", "/cartoonize/batch")
# Other interfaces to the same: they count as it, since each route has 150 series. The log tells.
SAME_ROUTES = dict.fromkeys(("/v1/images/edits", "/v2/models/{name}/infer"), "/cartoonize")
OTHER = "other"  # every address that is not ours: never the caller's text
UNCOUNTED = ("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")
CLIENT_LEFT = 499  # nginx's code, in log and metrics only: nobody is left to answer
STATUSES = sorted({200, 304, CLIENT_LEFT, *(kind.status for kind in Problem.__subclasses__())})
CODES = sorted(kind.code for kind in Problem.__subclasses__())
SHED = ("overloaded", "would_be_late", "draining", "deadline_passed", "upload_timeout")
SCALES = (1, 2, 4, 8)
# 1 ms to 19 s, each 1.6 times the last, so that a quantile is off by a quarter at most.
TIME_BUCKETS = tuple(round(0.001 * 1.6**k, 6) for k in range(22))
FACE_BUCKETS = (0, 1, 2, 3, 5, 10, 20)
LAG_EVERY_S = 0.5


def outcome_of(status: int) -> str:
    """Return in one word how a request ended: `ok`, `client`, `left`, `shed` or `server`."""
    if status == CLIENT_LEFT:
        return "left"
    if status in (408, 503, 504):
        return "shed"
    return "ok" if status < 400 else "client" if status < 500 else "server"


class Metrics:
    """The registry of one application, and the children of its counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        requests = Counter(
            "p2c_requests",
            "Requests, except for probes.",
            ("route", "code", "outcome"),
            registry=self.registry,
        )
        durations = self._histogram(
            "p2c_request_duration_seconds",
            "From the head of a request to its end.",
            "route",
            "outcome",
        )
        stages = self._histogram(
            "p2c_stage_duration_seconds", "Time of one photo in a stage.", "stage"
        )
        errors = Counter("p2c_errors", "Problems, by code.", ("code",), registry=self.registry)
        shed = Counter(
            "p2c_shed",
            "Photos refused or given up.",
            ("reason",),
            registry=self.registry,
        )
        cancelled = Counter(
            "p2c_cancelled", "Photos whose caller left.", ("at",), registry=self.registry
        )
        scales = Counter(
            "p2c_decode_scale",
            "Photos by the fraction at which they were decoded: 2 for a half.",
            ("scale",),
            registry=self.registry,
        )
        self._styles = Counter(
            "p2c_styles", "Photos by the style that draws them.", ("style",), registry=self.registry
        )
        smaller = Counter(
            "p2c_smaller",
            "Photos drawn smaller than asked for, by size, since many waited.",
            ("size",),
            registry=self.registry,
        )
        self._keys = Counter(
            "p2c_key_requests",
            "Requests by the name of their API key.",
            ("key", "outcome"),
            registry=self.registry,
        )
        self.faces = Histogram(
            "p2c_faces", "Faces found in a photo.", buckets=FACE_BUCKETS, registry=self.registry
        )
        self.lag = self._histogram(
            "p2c_event_loop_lag_seconds", "How late the event loop runs what is due."
        )
        self._requests = {
            (route, status): requests.labels(route, str(status), outcome_of(status))
            for route in (*PHOTO_ROUTES, OTHER)
            for status in STATUSES
        }
        self._durations = {
            (route, outcome): durations.labels(route, outcome)
            for route in (*PHOTO_ROUTES, OTHER)
            for outcome in sorted(set(map(outcome_of, STATUSES)))
        }
        self._stages = {stage: stages.labels(stage) for stage in Stage}
        self._errors = {code: errors.labels(code) for code in CODES}
        self._shed = {reason: shed.labels(reason) for reason in SHED}
        self._cancelled = {stage: cancelled.labels(stage) for stage in Stage}
        self._smaller = {size: smaller.labels(str(size)) for size in SIZES[:-1]}
        self._scales = {scale: scales.labels(str(scale)) for scale in SCALES}

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=TIME_BUCKETS, registry=self.registry)

    def request(self, route: str | None, status: int, seconds: float) -> None:
        """Count one request by the path of its route, its status, and its duration, s."""
        if route in UNCOUNTED:
            return
        route = SAME_ROUTES.get(route or "", route)
        known = route if route in PHOTO_ROUTES else OTHER
        if child := self._requests.get((known, status)):
            child.inc()
            self._durations[known, outcome_of(status)].observe(seconds)

    def key(self, name: str, status: int) -> None:
        """Count one request by the name of its API key, and its status."""
        self._keys.labels(name, outcome_of(status)).inc()

    def problem(self, code: str) -> None:
        """Count one problem, of a request or of one photo of a batch."""
        self._errors[code].inc()
        if child := self._shed.get(code):
            child.inc()

    def left(self, at: Stage) -> None:
        """Count one photo whose caller left, by the stage it was in."""
        self._cancelled[at].inc()

    def photo(self, ticket: Ticket) -> None:
        """Count what the ticket of a photo says: times of the stages, faces, scale, style."""
        for stage, seconds in ticket.seconds.items():
            self._stages[stage].observe(seconds)
        if (faces := ticket.facts.get("faces")) is not None:
            self.faces.observe(int(faces))
        if child := self._scales.get(int(ticket.facts.get("scale", 0))):
            child.inc()
        if Stage.ENCODE in ticket.seconds and (size := ticket.facts.get("smaller")):
            self._smaller[int(size)].inc()
        if style := ticket.facts.get("style"):
            self._styles.labels(style).inc()  # settled, so one of those that are loaded

    def watch(self, engine: Engine) -> None:
        """Report the state of `engine` from now on."""
        self.registry.register(EngineCollector(engine))
        for style in engine.pipeline.styles.drawers:
            self._styles.labels(style)
        for entry in engine.settings.api_keys or ("none",):  # so that the series is there
            for outcome in sorted(set(map(outcome_of, STATUSES))):
                self._keys.labels(entry.partition(":")[0], outcome)

    async def watch_loop(self) -> None:
        """Measure the lag of the event loop until cancelled."""
        while True:
            due = time.perf_counter() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.lag.observe(max(0.0, time.perf_counter() - due))


class EngineCollector(Collector):
    """Reads the state of the engine whenever Prometheus asks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the engine, as it is at this moment."""
        yield from self._load()
        yield from self._models()
        yield from self._batches()
        yield from self._memory()

    def _load(self) -> Iterator[Metric]:
        lanes, engine = self.engine.lanes, self.engine
        ready = engine.alive and not engine.draining and not engine.pipeline.failing
        for name, text, value in (
            ("p2c_queue_depth", "Photos that wait for a lane.", lanes.waiting),
            ("p2c_queue_limit", "Largest number of photos that may wait.", lanes.max_queue),
            (
                "p2c_queue_wait_predicted_seconds",
                "How long a photo that arrived now would wait.",
                lanes.predicted_wait_s,
            ),
            ("p2c_inflight", "Photos on a lane.", lanes.running),
            ("p2c_lanes", "Largest number of photos worked on at once.", lanes.threads),
            ("p2c_body_bytes", "Bytes held for request bodies.", engine.held_bytes),
            ("p2c_alive", "1 while every thread that works is alive.", engine.alive),
            ("p2c_ready", "1 while the service takes work.", ready),
        ):
            yield GaugeMetricFamily(name, text, float(value))
        pipeline = engine.pipeline
        fallbacks = CounterMetricFamily(
            "p2c_fallback", "Work done again or elsewhere.", labels=("reason",)
        )
        unusable = sum(drawer.unusable for drawer in pipeline.styles.drawers.values())
        fallbacks.add_metric(("unusable_output",), unusable)
        fallbacks.add_metric(("batch_failed",), sum(b.retried for b in pipeline.batchers))
        yield fallbacks
        cache = CounterMetricFamily("p2c_cache", "Lookups of kept pictures.", labels=("result",))
        for result in ("hit", "shared", "miss"):
            cache.add_metric((result,), engine.results.counts[result])
        yield cache

    def _models(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "p2c_model_info",
            "The models that run.",
            labels=("model", "role", "digest", "precision"),
        )
        nodes = GaugeMetricFamily(
            "p2c_ep_nodes",
            "Nodes of a model's graph by execution provider.",
            labels=("model", "provider"),
        )
        for network in self.engine.pipeline.networks:
            model = network.model
            labels = (model.name, model.role, model.sha256[:12], network.precision)
            info.add_metric(labels, 1)
            for provider, count in network.nodes.items():
                nodes.add_metric((model.name, provider), count)
        yield info
        yield nodes

    def _batches(self) -> Iterator[Metric]:
        sizes = HistogramMetricFamily(
            "p2c_batch_size", "Photos in a batch, before padding.", labels=("model",)
        )
        fill = GaugeMetricFamily(
            "p2c_batch_fill_ratio",
            "Photos per place of the batches so far: the rest was padding.",
            labels=("model",),
        )
        for batcher in self.engine.pipeline.batchers:
            sizes.add_metric((batcher.model.name,), *_cumulate(batcher))
            places = sum(
                count * next(b for b in batcher.buckets if b >= size)
                for size, count in batcher.sizes.items()
            )
            photos = sum(size * count for size, count in batcher.sizes.items())
            fill.add_metric((batcher.model.name,), photos / places if places else 0.0)
        yield sizes
        yield fill

    def _memory(self) -> Iterator[Metric]:
        device = self.engine.pipeline.device
        gpu = read_gpu(device.device_id) if device.on_gpu else None
        if not gpu:
            return
        for name, text, value in (
            ("p2c_gpu_memory_used_bytes", "Memory in use on the GPU.", gpu.used_bytes),
            ("p2c_gpu_memory_bytes", "Memory of the GPU.", gpu.total_bytes),
        ):
            yield GaugeMetricFamily(name, text, float(value))


def _cumulate(batcher: Batcher) -> tuple[Any, float]:
    """Return Prometheus' cumulative buckets, and the sum, of the sizes of a batcher's batches."""
    bounds = [bucket for bucket in BUCKETS if bucket <= batcher.buckets[-1]]
    counts = [
        (str(float(bound)), sum(n for size, n in batcher.sizes.items() if size <= bound))
        for bound in bounds
    ]
    counts.append(("+Inf", counts[-1][1]))
    return counts, sum(size * n for size, n in batcher.sizes.items())
