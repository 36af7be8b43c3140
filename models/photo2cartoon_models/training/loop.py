"""The loop: steps, checkpoints, samples; and an orderly end at any moment.

SIGTERM (which Kubernetes and torchrun send), Ctrl-C and a spent time budget all end the run after
the current step, with a checkpoint of exactly that step.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from lightning_fabric import Fabric, seed_everything
from lightning_fabric.strategies import DDPStrategy, Strategy

from photo2cartoon_models.training.checkpoint import (
    LAST,
    ResumeError,
    read_run,
    restore,
    save_checkpoint,
)
from photo2cartoon_models.training.config import Config, PublishedConfig
from photo2cartoon_models.training.fast import Fast
from photo2cartoon_models.training.log import Log, time_left, write_png
from photo2cartoon_models.training.processes import LONGEST_WAIT
from photo2cartoon_models.training.published import Published
from photo2cartoon_models.training.recipe import Recipe

AGREE_EVERY = 10  # steps: how often several processes ask each other whether to stop
CHECKPOINTS = "checkpoints"

End = Literal["finished", "time", "signal"]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        end: all steps are done, the time budget is spent, or a signal asked for the end.
        step: the last step done.
        checkpoint: the checkpoint of that step.
    """

    end: End
    step: int
    checkpoint: Path


def open_fabric(config: Config, accelerator: str, devices: int) -> Fabric:
    """Open the device, in the precision asked for, and, under torchrun, the other processes.

    Args:
        config: states the precision.
        accelerator: auto, cpu, cuda or mps.
        devices: how many of this machine; under torchrun, torchrun decides.
    """
    local, world = (int(os.environ.get(name, 0)) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    count, nodes = (local, world // local) if local else (devices, 1)
    strategy: str | Strategy = "auto"
    if count * nodes > 1:
        # Buffers follow from weights (spectral norm), so every process computes the same ones.
        strategy = DDPStrategy(broadcast_buffers=False, timeout=LONGEST_WAIT)
    fabric = Fabric(
        accelerator=accelerator,
        strategy=strategy,
        devices=count,
        num_nodes=nodes,
        precision=config.precision,
    )
    fabric.launch()
    return fabric


def create_recipe(config: Config, fabric: Fabric) -> Recipe:
    """Create new networks, the same in every process."""
    seed_everything(config.seed, verbose=False)
    if isinstance(config, PublishedConfig):
        return Published(config, fabric)
    return Fast(config, fabric)


def train(
    config: Config,
    fabric: Fabric,
    say: Say,
    *,
    resume: Path | None = None,
    load: Path | None = None,
    max_minutes: float | None = None,
) -> Result:
    """Train until the last step, the time budget, or a signal.

    Args:
        config: what to train.
        fabric: launched.
        say: receives lines of progress, in the first process only.
        resume: a checkpoint from which everything is taken up, not only the weights.
        load: weights to start from.
        max_minutes: wall time for the steps; the current step is finished.

    Raises:
        ConfigError, DataError, WeightsError, ResumeError: before the first step.
    """
    torch.backends.cudnn.benchmark = True
    say = say if fabric.is_global_zero else _silent
    recipe = create_recipe(config, fabric)
    done = 0
    if load:
        say(f"loaded {', '.join(recipe.load(load))} from {load}")
    if resume:
        done = restore(read_run(resume), recipe)
        say(f"continuing after step {done} of {resume}")
    elif fabric.is_global_zero and (config.output_dir / CHECKPOINTS / LAST).exists():
        raise ResumeError(
            f"{config.output_dir} holds a run already: continue it with --resume auto, or name "
            "another folder with -o output_dir=FOLDER"
        )
    log = None
    if fabric.is_global_zero:
        log = Log(config.output_dir, done)
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        (config.output_dir / "config.yaml").write_text(text, encoding="utf-8")
    with _signals() as stop:
        watch = _Watch(fabric, stop, max_minutes)
        try:
            return _Steps(recipe, config, fabric, log, say, watch).run(done)
        finally:
            if log:
                log.close()


def _silent(_: str) -> None:
    """Say nothing: every process but the first."""


class _Watch:
    """Decides whether to end before the last step."""

    def __init__(self, fabric: Fabric, stop: list[int], max_minutes: float | None) -> None:
        self._fabric, self._stop = fabric, stop
        self._deadline = time.monotonic() + 60 * max_minutes if max_minutes else math.inf

    def left_s(self) -> float:
        """Return how much of the time budget is left, s; infinity without one."""
        return max(0.0, self._deadline - time.monotonic())

    def end(self, step: int) -> End | None:
        """Return why to end now, or None; called after every step, in every process."""
        late = time.monotonic() > self._deadline
        if self._fabric.world_size > 1:
            if step % AGREE_EVERY:
                return None
            mine = torch.tensor([float(bool(self._stop)), float(late)], device=self._fabric.device)
            stop, late = (bool(x) for x in self._fabric.all_reduce(mine, reduce_op="max"))
        else:
            stop = bool(self._stop)
        return "signal" if stop else "time" if late else None


class _Steps:
    """The steps themselves."""

    def __init__(
        self,
        recipe: Recipe,
        config: Config,
        fabric: Fabric,
        log: Log | None,
        say: Say,
        watch: _Watch,
    ) -> None:
        self.recipe, self.config, self.fabric, self.log, self.say = recipe, config, fabric, log, say
        self.watch = watch
        self.folder = config.output_dir / CHECKPOINTS
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}
        self._start = self._mark = time.monotonic()
        self._marked = 0

    def run(self, done: int) -> Result:
        total = self.recipe.total_steps
        self._marked = done
        step, end = done, None
        while step < total and end is None:
            step += 1
            self._add(self.recipe.step(step))
            end = self.watch.end(step)
            self._after(step, last=step == total or end is not None)
        if step == done:
            self.say(f"nothing to do: all {total} steps are done")
        words = {"time": "time is up", "signal": "told to stop", None: "all steps done"}
        path = self.folder / LAST
        self.say(f"{words[end]} after step {step}; checkpoint: {path}")
        return Result(end or "finished", step, path)

    def _add(self, terms: dict[str, torch.Tensor]) -> None:
        """Sum on the device: reading a number would wait for it."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def _after(self, step: int, last: bool) -> None:
        log, snapshot = self.config.log_config, self.config.snapshot_config
        if step % log.interval == 0 or last:
            self._report(step)
        if self.log and (step % log.visual_interval == 0 or last):
            for name, image in self.recipe.grids().items():
                self.log.picture(name, step, image)
        keep = step % snapshot.keep_interval == 0 or step == self.recipe.total_steps
        if step % snapshot.interval == 0 or keep or last:
            if self.fabric.is_global_zero:
                save_checkpoint(self.folder, self.recipe, self.config, step, keep)
            self.fabric.barrier()

    def _means(self) -> dict[str, float]:
        """Return every term's mean over the steps since the last report, and over all processes."""
        means = [total.float() / self._counts[name] for name, total in self._sums.items()]
        shared = self.fabric.all_reduce(torch.stack(means), reduce_op="mean")
        return dict(zip(self._sums, shared.tolist(), strict=True))

    def _report(self, step: int) -> None:
        if step == self._marked:
            return
        values = self._means()
        now = time.monotonic()
        speed = (step - self._marked) / max(now - self._mark, 1e-9)
        rate = self.recipe.optimisers["G"].param_groups[0]["lr"]
        facts = {"seconds": now - self._start, "steps_per_second": speed, "learning_rate": rate}
        if self.log:
            self.log.metrics(step, {**facts, **values})
        words = " ".join(f"{name} {value:.4g}" for name, value in values.items())
        total = self.recipe.total_steps
        left = time_left(min((total - step) / speed, self.watch.left_s()))
        self.say(f"step {step}/{total} {speed:.2f} steps/s, {left}: {words}")
        self._sums, self._counts = {}, {}
        self._mark, self._marked = now, step


def draw_tests(config: Config, fabric: Fabric, source: dict[str, Any] | Path) -> list[Path]:
    """Draw every test picture with the weights of a checkpoint or a weight file; no training.

    Returns:
        The files, in `output_dir/test`.
    """
    recipe = create_recipe(config, fabric)
    if isinstance(source, Path):
        recipe.load(source)
    else:
        restore(source, recipe)
    paths = []
    for name, image in recipe.strips():
        path = config.output_dir / "test" / f"{name}.png"
        write_png(path, image)
        paths.append(path)
    return paths


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of ending at once; a second one acts as usual."""
    seen: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, _: object) -> None:
        seen.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
