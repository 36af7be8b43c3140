"""The GPU's benchmark runs on this CPU, whole, at small size; and counts what it says it counts."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from benchmarks.gpu.__main__ import app
from benchmarks.gpu.networks import list_variants, open_device
from benchmarks.gpu.roofline import Ceiling, Work, count_work, measure_ceiling
from photo2cartoon.ground.settings import LITE
from photo2cartoon.runtime.checks import StartRefused
from photo2cartoon.runtime.device import CPU, Device
from photo2cartoon_models.manifest import load_manifest
from tests.networks import write_generator
from tests.places import PHOTO

EMBEDDED = load_manifest()[LITE]


def run(*arguments: str | Path, code: int = 0) -> str:
    """What a command prints, without the tables' spacing."""
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return re.sub(r"[^\S\n]+", " ", done.output)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generator(tmp_path_factory.mktemp("generator") / "little.onnx")


def test_the_generator_by_batch(generator: Path) -> None:
    output = run(
        *("generator", generator, "--half", generator),
        *("--buckets", "1,2", "--matrix", "256", "--minutes", "0.01"),
    )
    rows = re.findall(r"^ *(\S+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)% ([\d.]+)% *$", output, re.M)
    assert [row[:2] for row in rows] == [
        ("float32", "1"),
        ("float16", "1"),
        ("float32", "2"),
        ("float16", "2"),
    ]
    for _, size, ms, rate, of_matrix, of_bandwidth in rows:
        assert float(rate) == pytest.approx(int(size) / float(ms) * 1000, rel=0.02)
        assert 0 < float(of_matrix) < 150
        assert 0 < float(of_bandwidth) < 150
    assert "CPUExecutionProvider; no GPU" in output


def test_a_gpu_gets_every_precision_and_option() -> None:
    other = replace(EMBEDDED, name="half")
    variants = list_variants(EMBEDDED, other, Device("cuda"), tensorrt=True)
    assert len({variant.name for variant in variants}) == len(variants) == 8
    assert len({(variant.model.name, variant.device) for variant in variants}) == 8
    exact, tf32, *halves = variants
    assert (exact.device.tf32, tf32.device.tf32) == (False, True)
    assert {variant.model.name for variant in halves} == {other.name}
    assert variants[-1].device.provider == "tensorrt"


def test_a_provider_that_is_not_there_is_no_cpu_run() -> None:
    with pytest.raises(StartRefused):
        open_device("cuda")


def test_work_is_counted_from_the_file() -> None:
    work = count_work(EMBEDDED.read_verified())
    assert work.flops == pytest.approx(2 * 3.3e9, rel=0.02)  # 3.3 GMAC: docs/network.md
    model = onnx.load_from_string(EMBEDDED.read_verified())
    picture = 4 * 3 * 256 * 256
    assert work.bytes > 2 * picture * len(model.graph.node) / 10
    tiny = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["a", "b"], ["y"])],
        "product",
        [onnx.helper.make_tensor_value_info("a", 1, ["N", 8, 4])],
        [onnx.helper.make_tensor_value_info("y", 1, ["N", 8, 16])],
        [onnx.numpy_helper.from_array(np.zeros((4, 16), np.float32), "b")],
    )
    content = onnx.helper.make_model(tiny).SerializeToString()
    assert count_work(content) == Work(2 * 8 * 4 * 16, 4 * (8 * 4 + 8 * 16))


def test_the_ceiling_is_a_plausible_one() -> None:
    ceiling = measure_ceiling(CPU, 256, half=False)
    assert isinstance(ceiling, Ceiling)
    assert 1e9 < ceiling.flops < 1e13
    assert 1e8 < ceiling.bytes < 1e13


def test_pixels_are_compared_and_a_difference_fails(generator: Path, tmp_path: Path) -> None:
    same = run("pixels", generator, generator, PHOTO.parent)
    assert re.search(r"float32 1 0\.000 0\.000 0\.000 0", same)
    assert re.search(r"float16 1 0\.000 0\.000 0\.000 0", same)
    darker = write_generator(tmp_path / "darker.onnx", gain=0.25)
    other = run("pixels", generator, darker, PHOTO.parent, code=1)
    assert re.search(r"float32 1 0\.000 0\.000 0\.000 0", other)
    assert re.search(r"float16 1 \d+\.\d+ \d+\.\d+ \d+\.\d+ 1", other)


def test_a_cpu_draws_the_same_in_any_batch() -> None:
    output = run("invariance", PHOTO.parent, "--largest", "4")
    rows = re.findall(r"^ *(\d) (\S+) 1 of 1 0\.000% 0 *$", output, re.M)
    assert rows == [("1", "again"), ("2", "0"), ("2", "1"), ("4", "0"), ("4", "3")]


def test_the_warm_up_is_timed_by_batch() -> None:
    output = run("warmup", "--largest", "2")
    rows = re.findall(r"^ *none (\d) ([\d.]+) ([\d.]+)", output, re.M)
    assert [size for size, *_ in rows] == ["1", "2"]


def test_the_fused_way_leaves_the_cpu_less_to_do() -> None:
    output = run("host", "--rounds", "3")
    rows = re.findall(r"^ *(a \w+).*? ([\d.]+) ([\d.]+) *$", output, re.M)
    assert [what for what, *_ in rows] == ["a photo", "a batch"]
    assert all(float(ms) > 0 for row in rows for ms in row[1:])


def test_the_service_beside_the_stages_in_process(generator: Path) -> None:
    little = ("--as-it-is", "--jobs", "20", "--senders", "1", "--generator", generator)
    output = run("service", *little)
    figures = dict(
        re.findall(
            r"^ *(\S.*?) ([\d.]+ photos/s|\d+ of \d+|[\d.]+|\d+%|none|\d+ MiB) *$", output, re.M
        )
    )
    assert figures["good answers"] == "20 of 20"
    assert figures["GPU memory"] == "none"
    bare, served = (float(figures[name].split()[0]) for name in ("in process", "over HTTP"))
    assert min(bare, served) > 0
    assert float(figures["of in process"]) == pytest.approx(
        served / bare, abs=0.05
    )  # of rounded figures
