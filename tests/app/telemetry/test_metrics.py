"""What Prometheus is told is what happened, in a closed set of series."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.runtime.device import Device
from photo2cartoon.runtime.gpu import Gpu
from photo2cartoon.runtime.network import OPENVINO_ROLES
from photo2cartoon.telemetry.metrics import CODES, TIME_BUCKETS, Metrics, outcome_of
from tests.app.fakes import PNG, engine_of, photos, picture, upload
from tests.places import PHOTO

MOST_SERIES = 1000


def scrape(client: TestClient) -> dict[str, float]:
    """Every series by its name and labels, as Prometheus reads them."""
    text = client.get("/metrics").text
    return {
        sample.name
        + "".join(f"|{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }


def changes(client: TestClient, do: Any) -> dict[str, float]:
    """What `do` changes of the counters."""
    before = scrape(client)
    do()
    after = scrape(client)
    assert before.keys() == after.keys()  # no event makes a new series
    return {
        name: value - before[name]
        for name, value in after.items()
        if value != before[name] and name.startswith("p2c_") and "lag" not in name
    }


def test_a_served_photo_is_counted_with_its_stages(client: TestClient, photo: bytes) -> None:
    changed = changes(client, lambda: client.post("/cartoonize", content=photo, headers=PNG))
    counted = {name: value for name, value in changed.items() if "_sum" not in name}
    assert counted == {
        "p2c_requests_total|200|ok|/cartoonize": 1,
        "p2c_request_duration_seconds_count|ok|/cartoonize": 1,
        **{f"p2c_stage_duration_seconds_count|{stage}": 1 for stage in Stage},
        "p2c_faces_count": 1,
        "p2c_decode_scale_total|1": 1,
        f"p2c_styles_total|{LITE}": 1,
    }
    stages = sum(value for name, value in changed.items() if "stage_duration_seconds_sum" in name)
    assert 0 < stages <= changed["p2c_request_duration_seconds_sum|ok|/cartoonize"] * 1.01


TEXT, NOBODY = upload(b"text"), upload(picture())
IN_NO_TIME = {**upload(PHOTO.read_bytes()), "headers": {"x-request-timeout-ms": "1"}}


@pytest.mark.parametrize(
    ("route", "request_", "status", "outcome", "code"),
    [
        ("/cartoonize", TEXT, 415, "client", "unsupported_format"),
        ("/cartoonize", NOBODY, 422, "client", "no_face"),
        ("/cartoonize", IN_NO_TIME, 504, "shed", "deadline_passed"),
        ("other", {}, 404, "client", "not_found"),
    ],
)
def test_a_problem_is_counted_by_its_code(
    client: TestClient, route: str, request_: Any, status: int, outcome: str, code: str
) -> None:
    changed = changes(client, lambda: client.post(route, **request_))
    assert changed[f"p2c_requests_total|{status}|{outcome}|{route}"] == 1
    assert changed[f"p2c_errors_total|{code}"] == 1
    assert changed.get(f"p2c_shed_total|{code}", 0) == (outcome == "shed")


def test_each_photo_of_a_batch_is_counted(client: TestClient, photo: bytes) -> None:
    files = photos(photo, picture(), b"text", photo)
    changed = changes(client, lambda: client.post("/cartoonize/batch", files=files))
    assert changed["p2c_requests_total|200|ok|/cartoonize/batch"] == 1
    assert changed["p2c_stage_duration_seconds_count|generate"] == 2
    assert changed["p2c_stage_duration_seconds_count|read"] == 1
    assert changed["p2c_errors_total|no_face"] == 1
    assert changed["p2c_errors_total|unsupported_format"] == 1


def test_probes_and_scrapes_are_not_counted(client: TestClient) -> None:
    def probe() -> None:
        for path in ("/livez", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200

    assert changes(client, probe) == {}


def test_the_scale_of_decoding_is_counted(client: TestClient, photo: bytes) -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((2600, 2600)).save(buffer, "JPEG")
    large = buffer.getvalue()
    changed = changes(client, lambda: client.post("/cartoonize", **upload(large)))
    assert changed["p2c_decode_scale_total|2"] == 1


def test_gauges_say_what_the_engine_is(client: TestClient) -> None:
    engine = engine_of(client)
    series = scrape(client)
    assert series["p2c_queue_depth"] == series["p2c_queue_wait_predicted_seconds"] == 0
    assert series["p2c_lanes"] == engine.lanes.threads
    assert (series["p2c_alive"], series["p2c_ready"]) == (1, 1)
    for model in engine.pipeline.models:
        precision = Device.choose(Settings()).precision if model.role == "generator" else "float32"
        labels = f"{model.sha256[:12]}|{model.name}|{precision}|{model.role}"
        assert series[f"p2c_model_info|{labels}"] == 1
        runs_on = "OpenVINO" if model.role in OPENVINO_ROLES else "CPUExecutionProvider"
        assert series[f"p2c_ep_nodes|{model.name}|{runs_on}"] > 10
    engine.draining = True
    assert scrape(client)["p2c_ready"] == 0


def test_batches_are_counted_by_size(photo: bytes) -> None:
    settings = Settings(threads=1, max_batch=4, generator=Path(LITE))
    with TestClient(create_app(settings, open_pipeline)) as client:
        client.post("/cartoonize/batch", files=photos(photo, photo, photo))
        series = scrape(client)
        text = client.get("/metrics").text
    for model, looks in (("selfie", 2), ("photo2cartoon-lite", 1)):  # a mirror image as well
        assert series[f"p2c_batch_size_sum|{model}"] == 3 * looks
        assert 1 <= series[f"p2c_batch_size_count|{model}"] <= 3 * looks
        assert 0.5 < series[f"p2c_batch_fill_ratio|{model}"] <= 1
        bounds = re.findall(rf'p2c_batch_size_bucket{{le="(.*?)",model="{model}"}}', text)
        assert bounds == ["1.0", "2.0", "4.0", "+Inf"]


def test_the_series_are_bounded_and_there_from_the_start(
    settings: Settings, pipeline: Pipeline
) -> None:
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        text = client.get("/metrics").text
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert 100 < len(lines) < MOST_SERIES
        series = scrape(client)
        for code in CODES:
            assert series[f"p2c_errors_total|{code}"] == 0
        for path in range(50):
            client.get(f"/{path}")
        again = client.get("/metrics").text
        assert len([line for line in again.splitlines() if not line.startswith("#")]) == len(lines)


def test_it_speaks_openmetrics_too(client: TestClient) -> None:
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_time_buckets_run_from_a_millisecond_to_the_default_deadline() -> None:
    assert TIME_BUCKETS[0] == 0.001
    assert 15 < TIME_BUCKETS[-1] < 30
    assert {outcome_of(s) for s in (200, 304, 404, 499, 500, 503, 504)} == {
        *("ok", "client", "left", "server", "shed")
    }


def test_two_apps_in_one_process_count_apart(settings: Settings, pipeline: Pipeline) -> None:
    one, other = Metrics(), Metrics()
    for metrics in (one, other):
        metrics.watch(Engine(settings, lambda _: pipeline))
    one.request("/cartoonize", 200, 0.1)
    labels = {"route": "/cartoonize", "code": "200", "outcome": "ok"}
    values = [m.registry.get_sample_value("p2c_requests_total", labels) for m in (one, other)]
    assert values == [1, 0]


def test_the_memory_of_the_gpu_is_told_where_one_draws(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "photo2cartoon.telemetry.metrics.read_gpu", lambda _: Gpu("L4", "8.9", 3 << 30, 24 << 30)
    )
    assert not [name for name in scrape(client) if "gpu" in name]
    monkeypatch.setattr(engine_of(client).pipeline, "device", Device("cuda"))
    series = scrape(client)
    assert series["p2c_gpu_memory_used_bytes"] == 3 << 30
    assert series["p2c_gpu_memory_bytes"] == 24 << 30
    assert len([name for name in series if "gpu" in name]) == 2
    monkeypatch.setattr(
        "photo2cartoon.telemetry.metrics.read_gpu", lambda _: None
    )  # no NVML: nothing is made up
    assert not [name for name in scrape(client) if "gpu" in name]


def test_every_stage_that_a_ticket_can_name_has_its_series() -> None:
    metrics, ticket = Metrics(), Ticket()
    for stage in Stage:
        with ticket.stage(stage):
            pass
        metrics.left(stage)
    metrics.photo(ticket)
    for stage in Stage:
        for name in ("p2c_stage_duration_seconds_count", "p2c_cancelled_total"):
            label = "at" if "cancelled" in name else "stage"
            assert metrics.registry.get_sample_value(name, {label: stage}) == 1
