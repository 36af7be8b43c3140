"""The service as it is on a GPU, on a device that says it is one and computes on this CPU."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline import opening
from photo2cartoon.pipeline.drawer import FusedDrawer, StagedDrawer
from photo2cartoon.pipeline.fuse import NotFusable
from photo2cartoon.pipeline.opening import open_on, open_pipeline
from photo2cartoon.runtime import binding
from photo2cartoon.runtime import session as session_module
from photo2cartoon.runtime.binding import BoundNetwork
from photo2cartoon.runtime.checks import StartRefused
from photo2cartoon.runtime.device import CPU, Device, Shapes
from photo2cartoon.runtime.network import Array
from tests.app.fakes import cartoonize_many
from tests.networks import write_generator
from tests.places import ROOT


@dataclass(frozen=True, slots=True)
class PretendedGpu(Device):
    """Everything but the provider that ONNX Runtime gets is CUDA's."""

    @property
    def memory(self) -> str:
        return "cpu"

    def providers(
        self, name: str, shapes: Shapes | None = None
    ) -> list[tuple[str, dict[str, str]]]:
        return [("CPUExecutionProvider", {})]


def pretend(patch: pytest.MonkeyPatch) -> None:
    """Let what is opened from now on believe in a GPU."""
    patch.setattr(Device, "choose", lambda settings: PretendedGpu("cuda"))
    patch.setattr(session_module, "check_placement", lambda *session: None)
    patch.setattr(binding, "open_cudart", lambda device: None)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that costs nothing; `tests/app/pipeline/test_fuse.py` holds the real one."""
    return write_generator(tmp_path_factory.mktemp("generator") / "half.onnx")


@pytest.fixture(scope="module")
def engine(generator: Path) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        pretend(patch)
        engine = Engine(Settings(threads=2, generator=generator, styles=()), open_pipeline)
    yield engine
    engine.close()


def pixels(picture: bytes | None) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    assert picture
    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(image).astype(int)


def test_photos_are_drawn_in_batches_by_one_graph(
    engine: Engine, generator: Path, photo: bytes
) -> None:
    (batcher,) = engine.pipeline.batchers
    assert isinstance(engine.pipeline.styles.drawer(Options()), FusedDrawer)
    assert isinstance(batcher.network, BoundNetwork)
    assert batcher.buckets == (1, 2, 4, 8, 16)  # nobody had to say so
    assert all(times.mean for times in batcher.times.values())  # warm
    assert engine.lanes.threads == 2 + 2 * 16
    on_cpu = Settings(threads=1, generator=generator, styles=(), provider="cpu")  # its mesh too
    (alone,) = open_pipeline(on_cpu).cartoonize(photo)
    batcher.max_wait_s = 0.5  # so small a network would be free before the next photo comes
    found = cartoonize_many(engine, [photo] * 12)
    batcher.max_wait_s = 0
    assert len(set(found)) == 1
    assert np.abs(pixels(found[0]) - pixels(alone)).max() <= 1
    assert sum(size * count for size, count in batcher.sizes.items()) == 12
    assert any(count for size, count in batcher.sizes.items() if size > 1)


def test_the_etag_is_weak_and_names_the_device(engine: Engine, photo: bytes) -> None:
    etag = asyncio.run(engine.name(photo, Options(format="png")))
    assert etag.startswith('W/"')


def test_networks_that_make_no_one_graph_run_in_stages(
    gpu: None,
    monkeypatch: pytest.MonkeyPatch,
    generator: Path,
    photo: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(matte: object, generator: object) -> None:
        raise NotFusable("the matte network does not take pictures of 256 px")

    monkeypatch.setattr(opening, "fuse", refuse)
    opened = open_pipeline(Settings(max_batch=2, generator=generator, styles=()))
    assert isinstance(opened.styles.drawer(Options()), StagedDrawer)
    assert len(opened.batchers) == 2
    assert opened.cartoonize(photo)
    assert any(record.message == "in stages" for record in caplog.records)
    opened.close()


def test_training_data_needs_the_matte_alone(gpu: None, generator: Path, photo: bytes) -> None:
    settings = Settings(max_batch=1, generator=generator, styles=())
    opened = open_pipeline(settings)
    _, (portrait,) = opened.prepare(photo, Options(), Ticket())
    _, (expected,) = open_on(CPU, settings).prepare(photo, Options(), Ticket())
    assert np.abs(portrait.matte - expected.matte).max() < 1 / 255
    opened.close()


def test_a_first_run_that_fails_is_told_in_one_line(
    gpu: None, monkeypatch: pytest.MonkeyPatch, generator: Path
) -> None:
    real, calls = BoundNetwork.run, list[int]()

    def run(network: BoundNetwork, batch: Array, ticket: Ticket | None = None) -> list[Array]:
        calls.append(1)
        if len(calls) == 1:  # the CPU's answer to the self test
            return real(network, batch)
        raise RuntimeError("Failed to allocate memory for requested buffer\nof size 9")

    monkeypatch.setattr(BoundNetwork, "run", run)
    with pytest.raises(StartRefused) as caught:
        open_pipeline(Settings(generator=generator, styles=()))
    message = str(caught.value)
    assert "the first run on CUDAExecutionProvider failed: Failed to allocate memory" in message
    assert "P2C_MAX_BATCH" in message
    assert "\n" not in message


def test_the_log_says_what_draws_and_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    open_pipeline(Settings(provider="auto")).close()
    (record,) = (record for record in caplog.records if record.message == "device")
    assert vars(record)["fields"]["provider"] == "openvino"
    assert "CUDAExecutionProvider" in vars(record)["fields"]["why"]


def photo2cartoon(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("P2C_")}
    command = [sys.executable, "-m", "photo2cartoon", *arguments]
    environment = plain | settings
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("arguments", "provider", "what"),
    [
        (["serve"], "cuda", "has no CUDAExecutionProvider: "),
        (["models", "build-engines"], "tensorrt", "has no TensorrtExecutionProvider: "),
        (["models", "build-engines"], "cuda", "P2C_PROVIDER=cuda has no engines: "),
    ],
)
def test_without_a_gpu_the_start_is_refused_in_one_line(
    arguments: list[str], provider: str, what: str
) -> None:
    done = photo2cartoon(*arguments, P2C_PROVIDER=provider)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert what in line
