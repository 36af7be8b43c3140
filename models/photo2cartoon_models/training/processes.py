"""The processes of `torchrun` that share each batch of a distillation; without it, this one alone.

The recipes of `train` have Lightning Fabric for this; a distillation needs less.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

LONGEST_WAIT = timedelta(days=7)  # for the first process, which draws pairs or unpacks shards


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes, where torchrun started this one; they part at the end."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """Return which of the processes this is, from 0 up, and how many there are."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def meet() -> None:
    """Wait until every process is here."""
    if distributed.is_initialized():
        distributed.barrier()


def mean(value: float) -> float:
    """Return the mean of what every process has."""
    shared = torch.tensor(value, dtype=torch.float64)
    if distributed.is_initialized():
        distributed.all_reduce(shared)
    return float(shared) / place()[1]


def learner(net: nn.Module) -> nn.Module:
    """Return `net` such that its gradients are the means over all processes."""
    return DistributedDataParallel(net) if place()[1] > 1 else net
