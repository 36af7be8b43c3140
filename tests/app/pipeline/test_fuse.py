"""One graph for matte, composite and generator draws what the stages draw, on this CPU."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from photo2cartoon.ground.errors import UnusableOutput
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.drawer import Drawing, FusedDrawer, StagedDrawer
from photo2cartoon.pipeline.fuse import NotFusable, fuse
from photo2cartoon.pipeline.opening import open_fused, open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline, finish
from photo2cartoon.runtime.batcher import Batcher
from photo2cartoon.runtime.binding import BoundNetwork, DeviceLost
from photo2cartoon.runtime.device import CPU
from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon_models.manifest import ManifestError, Model, find_generator, load_manifest
from tests.networks import write_generator

MANIFEST = load_manifest()
MATTE = MANIFEST["selfie"]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """On the runtime that the graph runs on here."""
    return open_pipeline(Settings(threads=1, provider="cpu", generator=Path(LITE), styles=()))


@pytest.fixture(scope="module")
def fused() -> BoundNetwork:
    return open_fused(MATTE, MANIFEST[LITE], CPU, 4)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """One that costs nothing, where the drawing does not matter."""
    path = write_generator(tmp_path_factory.mktemp("generator") / "little.onnx")
    return find_generator(MANIFEST, path)


@pytest.fixture(scope="module")
def bound(generator: Model) -> BoundNetwork:
    return open_fused(MATTE, generator, CPU, 4)


@pytest.fixture(scope="module")
def crops(pipeline: Pipeline, photo: bytes) -> NDArray[np.uint8]:
    """Three different crops, (3, 256, 256, 3)."""
    _, (cut,) = pipeline.cropper.crop(photo, Options(), Ticket())
    return np.stack((cut.crop.pixels, 255 - cut.crop.pixels, cut.crop.pixels[:, ::-1]))


def draw_both(
    pipeline: Pipeline, fused: BoundNetwork, photo: bytes, options: Options
) -> Iterator[Drawing]:
    image, (cut,) = pipeline.cropper.crop(photo, options, Ticket())
    for drawer in (pipeline.styles.drawer(Options()), FusedDrawer(fused, MANIFEST[LITE])):
        yield drawer.draw(image, cut, Ticket(), options.colours)


def test_the_fused_graph_draws_what_the_stages_draw(
    pipeline: Pipeline, fused: BoundNetwork, photo: bytes
) -> None:
    staged, whole = draw_both(pipeline, fused, photo, Options(colours="drawn"))
    off = np.abs(staged.cartoon - whole.cartoon.astype(float))
    # Rounding takes half a grey level. The rest: a value on the edge between two levels may fall to
    # the other side of it in the composite that the generator sees.
    assert (off > 0.501).mean() < 0.001
    assert off.max() < 1
    assert np.abs(staged.matte - whole.matte).max() < 0.501 / 255


def test_the_fused_graph_colours_as_the_stages_do(
    pipeline: Pipeline, fused: BoundNetwork, photo: bytes
) -> None:
    staged, whole = draw_both(pipeline, fused, photo, Options(colours="photo"))
    off = np.abs(staged.cartoon - whole.cartoon.astype(float))[staged.matte > 0.5]
    assert off.mean() < 0.4  # rounding alone gives a quarter of a grey level
    assert off.max() < 4


@pytest.mark.parametrize("size", [128, 512])
def test_other_sizes_are_drawn_as_the_stages_draw_them(
    pipeline: Pipeline, fused: BoundNetwork, photo: bytes, size: int
) -> None:
    image, (cut,) = pipeline.cropper.crop(photo, Options(), Ticket(), size)
    staged, whole = pipeline.styles.drawer(Options()), FusedDrawer(fused, MANIFEST[LITE])
    mattes = [drawer.matte(image, cut, Ticket()) for drawer in (staged, whole)]
    assert [matte.shape for matte in mattes] == [(size, size)] * 2
    assert np.abs(mattes[0] - mattes[1]).mean() < 0.01
    drawings = [drawer.draw(image, cut, Ticket()) for drawer in (staged, whole)]
    assert [drawing.cartoon.shape for drawing in drawings] == [(size, size, 3)] * 2
    seen = drawings[0].matte > 0.9
    off = np.abs(drawings[0].cartoon - drawings[1].cartoon.astype(float))[seen]
    assert off.mean() < 4  # the squares are not shrunk in the same place


@pytest.mark.parametrize(
    "options",
    [
        Options(colours="drawn"),
        Options(colours="drawn", background="transparent"),
        Options(colours="drawn", compose="scene"),
    ],
)
def test_every_kind_of_picture_is_within_a_grey_level(
    pipeline: Pipeline, fused: BoundNetwork, photo: bytes, options: Options
) -> None:
    image, cuts = pipeline.cropper.crop(photo, options, Ticket())
    pictures = [
        finish(image, cuts, [drawing], options)[0].astype(int)
        for drawing in draw_both(pipeline, fused, photo, options)
    ]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_bound_buffers_give_the_bytes_of_a_plain_run(
    bound: BoundNetwork, generator: Model, crops: NDArray[np.uint8]
) -> None:
    model, content = fuse(MATTE, generator)
    plain = OnnxNetwork(model, CPU, content)
    for batch in (crops[:1], crops, crops[1:], crops[::-1], crops[:1]):  # buffers are used again
        expected = plain.run(batch)
        place = bound.place(len(batch))
        place[:] = batch
        for ways in (bound.run(batch.copy()), bound.run(place)):
            for found, output in zip(ways, expected, strict=True):
                np.testing.assert_array_equal(found, output)


def test_an_answer_is_not_changed_by_the_next_run(
    bound: BoundNetwork, crops: NDArray[np.uint8]
) -> None:
    first = bound.run(crops[:1])
    kept = [output.copy() for output in first]
    bound.run(crops[1:2])
    for output, expected in zip(first, kept, strict=True):
        np.testing.assert_array_equal(output, expected)


def test_a_batcher_gathers_in_the_bound_memory(
    bound: BoundNetwork, crops: NDArray[np.uint8]
) -> None:
    expected = bound.run(crops)
    batcher = Batcher(bound, 4)
    batcher.warm_up()
    assert all(times.mean for times in batcher.times.values())
    for found, output in zip(batcher.run(crops), expected, strict=True):
        np.testing.assert_array_equal(found, output)
    batcher.close()


def test_the_self_test_is_the_cpus_answer(bound: BoundNetwork, generator: Model) -> None:
    bound.warm_up()
    assert bound.model.golden
    darker = (tuple(value - 9 for value in bound.model.golden[0] or ()), None, None)
    _, content = fuse(MATTE, generator)
    wrong = BoundNetwork(replace(bound.model, golden=darker), CPU, content, 1)
    with pytest.raises(ManifestError, match=r"drawn is 9.0 grey levels off"):
        wrong.warm_up()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.5])
def test_no_drawing_is_noticed(
    tmp_path: Path, pipeline: Pipeline, photo: bytes, value: float
) -> None:
    size = MANIFEST[LITE].image_size
    shape: list[str | int] = ["N", 3, size, size]
    float_ = onnx.TensorProto.FLOAT
    zero, number = (
        onnx.helper.make_tensor(name, float_, [], [what])
        for name, what in (("zero", 0.0), ("number", value))
    )
    nodes = [
        onnx.helper.make_node("Mul", ["input", "zero"], ["nothing"]),
        onnx.helper.make_node("Add", ["nothing", "number"], ["output"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "flat",
        [onnx.helper.make_tensor_value_info("input", float_, shape)],
        [onnx.helper.make_tensor_value_info("output", float_, shape)],
        [zero, number],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    path = tmp_path / "flat.onnx"
    path.write_bytes(content)
    generator = find_generator(MANIFEST, path)
    model, joined = fuse(MATTE, generator)
    drawer = FusedDrawer(OnnxNetwork(model, CPU, joined), generator)
    image, (cut,) = pipeline.cropper.crop(photo, Options(), Ticket())
    with pytest.raises(UnusableOutput):
        drawer.draw(image, cut, Ticket())
    assert drawer.unusable == 2


def test_the_digest_stands_for_both_networks() -> None:
    model, _ = fuse(MATTE, MANIFEST[LITE])
    again, _ = fuse(MATTE, MANIFEST[LITE])
    other, _ = fuse(replace(MATTE, name="other"), MANIFEST[LITE])
    assert model.sha256 == again.sha256 == other.sha256
    assert model.name == f"selfie+{LITE}"


def test_networks_that_do_not_fit_are_not_joined(tmp_path: Path) -> None:
    contract = replace(MATTE.inputs[0], shape=("N", 3, 320, 320))
    with pytest.raises(NotFusable, match="256 px"):
        fuse(replace(MATTE, inputs=(contract,)), MANIFEST[LITE])
    path = tmp_path / "nonsense.onnx"
    path.write_bytes(b"nonsense")
    with pytest.raises(NotFusable, match="onnx"):
        fuse(MATTE, find_generator(MANIFEST, path))


def test_a_gpu_that_answers_nothing_ends_its_thread(
    bound: BoundNetwork, crops: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = list[int]()

    def fails(times: int) -> Any:
        def run(binding: Any, options: Any) -> None:
            runs.append(1)
            if len(runs) <= times:
                raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")

        return run

    monkeypatch.setattr(bound._session, "run_with_iobinding", fails(1))
    with pytest.raises(RuntimeError, match="700"):  # the self test still runs: this batch was bad
        bound.run(crops)
    runs.clear()
    monkeypatch.setattr(bound._session, "run_with_iobinding", fails(99))
    with pytest.raises(DeviceLost):
        bound.run(crops)


def test_the_staged_way_stays_on_a_cpu(pipeline: Pipeline) -> None:
    assert isinstance(pipeline.styles.drawer(Options()), StagedDrawer)
    assert pipeline.batchers == []
