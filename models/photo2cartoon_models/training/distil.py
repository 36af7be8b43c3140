"""Distillation: a generator learns a teacher's drawings by plain regression, nothing else.

The loss is L1 of pixels and of their differences to the right and down, which keeps lines sharp.
AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), a cosine schedule, and a running mean of the
weights, which is what is measured and exported. Half of a batch are whole portraits at 256 px, half
are squares of 256 px out of portraits at 512 px, so that both sizes are learned as they are.

Everything random follows from the seed and the step's number: a run that continues from its
checkpoint gives exactly the weights of one that was never stopped. Processes that torchrun starts
share the pictures of each batch, and learn what one process learns, but for rounding.
"""

import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from photo2cartoon_models.files import write_whole
from photo2cartoon_models.networks.comic import ComicGenerator
from photo2cartoon_models.preprocess import to_image, to_tensor
from photo2cartoon_models.training.augment import StepRandom
from photo2cartoon_models.training.checkpoint import ResumeError
from photo2cartoon_models.training.data import DataError, find_pictures, order, read_picture
from photo2cartoon_models.training.log import Log, time_left
from photo2cartoon_models.training.pairs import SIZES
from photo2cartoon_models.training.processes import learner, mean, place

LAST = "last.pt"
EDGES = (80, 160)  # Canny's two thresholds, on grey levels of 0..255
NEAR = 3  # px: width of the square within which an edge counts as the same
REPORT_EVERY = 50  # steps
SHEET_ROWS = 6

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does; it is kept in its checkpoint.

    Attributes:
        steps: of the whole run; the schedule ends there.
        batch: pictures a step, of all processes together.
        side: of the pictures, px.
        rate: learning rate after the warm-up.
        warm_up: steps over which the rate rises from nothing.
        edges: weight of the differences between neighbours; pixels weigh 1.
        decay: of the running mean of the weights.
        seed: of everything random.
        dims: channels of the network, see `ComicGenerator`.
        blocks: residual blocks of the network.
    """

    steps: int = 14500
    batch: int = 2
    side: int = SIZES[-1]
    rate: float = 6e-4
    warm_up: int = 30
    edges: float = 1.0
    decay: float = 0.995
    seed: int = 0
    dims: tuple[int, int, int, int] = (24, 48, 96, 128)
    blocks: tuple[int, int, int, int] = (1, 1, 1, 2)


class Student:
    """A network in training, and all of its state.

    Attributes:
        net: the network that learns.
        mean: the running mean of its weights.
        step: the last step done.
    """

    def __init__(self, plan: Plan) -> None:
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.net = ComicGenerator(plan.dims, plan.blocks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._learner = learner(self.net)
        mean_of = get_ema_multi_avg_fn(plan.decay)  # type: ignore[no-untyped-call]
        self.mean = AveragedModel(self.net, multi_avg_fn=mean_of)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), plan.rate, weight_decay=1e-3)
        self.step = 0

    def learn(self, seen: Tensor, target: Tensor) -> float:
        """Take one step on photos and drawings (N, 3, S, S), -1..1; returns the batch's loss."""
        self.step += 1
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.net.train()
        loss = apart(self._learner(seen), target, self.plan.edges)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.mean.update_parameters(self.net)
        return mean(float(loss.detach()))

    def rate(self) -> float:
        """The learning rate of the current step."""
        plan = self.plan
        rise = min(1.0, self.step / plan.warm_up)
        fall = (1 + math.cos(math.pi * min(1.0, self.step / plan.steps))) / 2
        return plan.rate * rise * fall

    def generator(self) -> ComicGenerator:
        """The network with the mean weights, in evaluation mode, apart from the training."""
        net = ComicGenerator(self.plan.dims, self.plan.blocks)
        net.load_state_dict(self.mean.module.state_dict())
        return net.eval()

    def save(self, path: Path) -> None:
        """Write the whole state, so that `load_student` continues exactly here."""
        state = {
            "plan": asdict(self.plan),
            "step": self.step,
            "net": self.net.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        with write_whole(path, sync=True) as file:
            torch.save(state, file)


def load_student(path: Path) -> Student:
    """Read a checkpoint; nothing in it is run.

    Raises:
        ResumeError: it is not one of ours.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        student = Student(Plan(**state["plan"]))
        student.net.load_state_dict(state["net"])
        student.mean.load_state_dict(state["mean"])
        student.optimiser.load_state_dict(state["optimiser"])
        student.step = int(state["step"])
    except (
        OSError,
        EOFError,
        pickle.UnpicklingError,
        RuntimeError,
        TypeError,
        KeyError,
        ValueError,
    ) as error:
        raise ResumeError(f"{path}: not a checkpoint of a distillation: {error}") from error
    return student


def apart(drawn: Tensor, target: Tensor, edges: float) -> Tensor:
    """L1 of pixels, and `edges` times L1 of the differences between neighbours."""
    off = drawn - target
    down, right = off[:, :, 1:] - off[:, :, :-1], off[:, :, :, 1:] - off[:, :, :, :-1]
    return off.abs().mean() + edges * (down.abs().mean() + right.abs().mean())


def read_pair(path: Path) -> tuple[Image, Image]:
    """Read a photo and its drawing, `(S, S, 3)` uint8 RGB each.

    Raises:
        DataError: the file is not two squares side by side.
    """
    both = read_picture(path)
    side = both.shape[0]
    if both.shape[1] != 2 * side:
        raise DataError(f"{path}: a pair is two squares side by side, the photo to the left")
    return both[:, :side], both[:, side:]


def take_batch(paths: list[Path], plan: Plan, step: int) -> tuple[Tensor, Tensor]:
    """Read this process's photos and drawings of one step: (N, 3, S, S) each, -1..1.

    Args:
        paths: the pairs, at any of the sizes.
        plan: of the run.
        step: from 1 up.

    Raises:
        DataError: a pair is none, or the processes cannot have equal shares of the batch.
    """
    rng = StepRandom(plan.seed, step)
    pictures = []
    rank, world = place()
    share, rest = divmod(plan.batch, world)
    if rest:
        raise DataError(f"{world} processes cannot share batches of {plan.batch} equally")
    places = order(len(paths), plan.seed, "pairs", (step - 1) * plan.batch, plan.batch)
    for number, path in enumerate(paths[k] for k in places):
        size = SIZES[(number + step) % len(SIZES)]
        ((top, left),) = rng.integers(0, size - plan.side, 1, 2).tolist()
        turn = -1 if rng.common() < 0.5 else 1
        if number // share != rank:
            continue
        pair = read_pair(path.parents[1] / str(size) / path.name)
        cut = (slice(top, top + plan.side), slice(left, left + plan.side))
        pictures.append([to_tensor(half[cut][:, ::turn]) for half in pair])
    seen, target = (torch.from_numpy(np.stack(half)) for half in zip(*pictures, strict=True))
    return seen.contiguous(memory_format=torch.channels_last), target


def run(
    student: Student,
    pairs: Path,
    out: Path,
    say: Callable[[str], None],
    *,
    max_minutes: float = math.inf,
    save_minutes: float = 4.0,
) -> None:
    """Train `student` until the last step or until the time is up; the checkpoint is then written.

    Args:
        student: new, or continued from a checkpoint.
        pairs: what `training.pairs` drew.
        out: folder for the checkpoint, the metrics and the sheets.
        say: gets a line now and then.
        max_minutes: of this call.
        save_minutes: between checkpoints, with a sheet each.

    Raises:
        DataError: there are no pairs, or one of them is none.
    """
    paths = find_pictures(pairs / "train" / str(SIZES[-1]))  # written last: both are there
    steps = _losses(student, paths, max_minutes)
    if place()[0]:  # the first process writes
        deque(steps, maxlen=0)
        return
    start = saved = marked = time.monotonic()
    log, losses = Log(out, student.step), []
    try:
        for loss in steps:
            losses.append(loss)
            now = time.monotonic()
            if student.step % REPORT_EVERY == 0:
                values = {"loss": float(np.mean(losses)), "learning_rate": student.rate()}
                speed = len(losses) / (now - marked)
                log.metrics(student.step, {"steps_per_second": speed, **values})
                total, budget = student.plan.steps, start + 60 * max_minutes - now
                left = time_left(max(0.0, min((total - student.step) / speed, budget)))
                words = f"loss {values['loss']:.4f}"
                say(f"step {student.step}/{total} {speed:.2f} steps/s, {left}: {words}")
                losses, marked = [], now
            if now - saved > 60 * save_minutes:
                student.save(out / LAST)
                log.picture("sheet", student.step, sheet(student.generator(), pairs))
                saved = time.monotonic()
    finally:
        log.close()
    student.save(out / LAST)
    say(f"step {student.step}: {out / LAST}")


def _losses(student: Student, paths: list[Path], max_minutes: float) -> Iterator[float]:
    """Take steps until the last one, or until the time is up in one of the processes."""
    end = time.monotonic() + 60 * max_minutes
    while student.step < student.plan.steps and not mean(float(time.monotonic() >= end)):
        yield student.learn(*take_batch(paths, student.plan, student.step + 1))


@torch.no_grad()
def draw(net: ComicGenerator, photo: Image) -> Image:
    """Draw one photo `(H, W, 3)` uint8 RGB; the same comes back."""
    drawn = net(torch.from_numpy(to_tensor(photo))[None])[0].numpy()
    return np.asarray(to_image(drawn).round(), np.uint8)


def sheet(net: ComicGenerator, pairs: Path) -> Image:
    """Put photo, teacher's and student's drawing of some test photos at 512 px side by side."""
    rows = []
    for path in find_pictures(pairs / "test" / str(SIZES[0]))[:: len(SIZES) * 3][:SHEET_ROWS]:
        photo, target = read_pair(path)
        rows.append(np.hstack((photo, target, draw(net, photo))))
    return np.vstack(rows)


def measure(net: ComicGenerator, pairs: Path, size: int) -> dict[str, Any]:
    """Measure how near the student comes to the teacher on the test photos at `size` px.

    Returns:
        Means over the photos: `off`, grey levels between student and teacher; `photo_off`, between
        the photo itself and the teacher; `edges` and `photo_edges`, agreement of their edges, 0..1
        (F-measure of Canny's edges, one px apart counts as the same); and `count`.
    """
    rows = list(_compare(net, find_pictures(pairs / "test" / str(size))))
    names = ("off", "photo_off", "edges", "photo_edges")
    means = dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))
    return {**means, "count": len(rows)}


def _compare(net: ComicGenerator, paths: list[Path]) -> Iterator[tuple[float, ...]]:
    for path in paths:
        photo, target = read_pair(path)
        pictures = (draw(net, photo), photo)
        off = [float(cv2.absdiff(picture, target).mean()) for picture in pictures]
        yield (*off, *(edges_agree(picture, target) for picture in pictures))


def edges_agree(one: Image, other: Image) -> float:
    """F-measure of the edges of two pictures `(H, W, 3)` uint8, 0..1; 1 where neither has any."""
    edges = [cv2.Canny(picture, *EDGES) > 0 for picture in (one, other)]
    square = np.ones((NEAR, NEAR), np.uint8)
    near = [cv2.dilate(edge.astype(np.uint8), square) > 0 for edge in edges]
    found = sum(int((edge & wide).sum()) for edge, wide in zip(edges, near[::-1], strict=True))
    total = sum(int(edge.sum()) for edge in edges)
    return found / total if total else 1.0
