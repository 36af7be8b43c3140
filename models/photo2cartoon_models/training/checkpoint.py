"""The whole state of a run in one file, written whole or not at all, read without running it.

It is read as every weights file is, in a process of its own with limits (`readers.apart`): a run is
resumed from a file that may have come from somewhere else.

Networks stand at the top by name, as in minivision's files, so that `photo2cartoon convert` takes
`genA2B` from it as from any other. What only training needs stands under `training`.
"""

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from photo2cartoon_models.files import write_whole
from photo2cartoon_models.readers import apart
from photo2cartoon_models.readers.weights_error import WeightsError
from photo2cartoon_models.training.config import Config, ConfigError, parse_config
from photo2cartoon_models.training.recipe import Recipe

TRAINING = "training"
FORMAT = 1
LAST = "last.pt"
DEEPEST = 16  # dictionaries and lists within each other; ours are 6


class ResumeError(Exception):
    """A run cannot be resumed from this checkpoint; the message says why."""


def save_checkpoint(folder: Path, recipe: Recipe, config: Config, step: int, keep: bool) -> Path:
    """Write `last.pt` into `folder`, and with `keep` the same file under the step's number.

    The file gets its name once all of it is on the disk.
    """
    state: dict[str, Any] = {name: net.state_dict() for name, net in recipe.networks.items()}
    state[TRAINING] = {
        "format": FORMAT,
        "step": step,
        "config": config.model_dump(mode="json"),
        "optimisers": {name: o.state_dict() for name, o in recipe.optimisers.items()},
        "random": random_state(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / LAST
    with write_whole(last, sync=True) as file:
        torch.save(state, file)
    if keep:
        kept = folder / f"step_{step:07d}.pt"
        kept.unlink(missing_ok=True)
        kept.hardlink_to(last)
    return last


def read_run(path: Path) -> dict[str, Any]:
    """Read all of a checkpoint, in a process of its own; nothing in it is run.

    Raises:
        ResumeError: the file is not one of our checkpoints, or reading it took more memory or time
            than it may, or crashed.
    """
    try:
        facts, arrays = apart.call(_read_apart, path)
    except WeightsError as error:
        raise ResumeError(f"{path}: {error}") from error
    state: dict[str, Any] = _unpack(facts["state"], arrays)
    return state


def _read_apart(path: Path) -> tuple[dict[str, Any], apart.Arrays]:
    """Be the other process: read, and return the state as plain facts and arrays."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"not a checkpoint: {type(error).__name__}") from error
    if not isinstance(state, dict) or not isinstance(state.get(TRAINING), dict):
        raise WeightsError("weights, not a run; start from weights with --load")
    if state[TRAINING].get("format") != FORMAT:
        raise WeightsError("of another version of this program")
    arrays: apart.Arrays = {}
    return {"state": _pack(state, arrays)}, arrays


def _pack(value: Any, arrays: apart.Arrays, depth: int = 0) -> Any:
    """Return `value` as JSON can hold it; its tensors go to `arrays`, as numpy knows them.

    Raises:
        WeightsError: it holds something that no checkpoint of ours does.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth == DEEPEST:
        raise WeightsError("not a checkpoint: too deep")
    if isinstance(value, dict):
        parts = [[_pack(part, arrays, depth + 1) for part in item] for item in value.items()]
        return {"dict": parts}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(part, arrays, depth + 1) for part in value]}
    if not isinstance(value, torch.Tensor):
        raise WeightsError(f"not a checkpoint: it holds a {type(value).__name__}")
    name, brain = str(len(arrays)), value.dtype == torch.bfloat16  # which numpy does not know
    plain = value.detach()
    arrays[name] = (plain.view(torch.int16) if brain else plain).numpy()
    return {"bfloat16" if brain else "tensor": name}


def _unpack(packed: Any, arrays: apart.Arrays) -> Any:
    """Return what `_pack` was given."""
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind in ("tensor", "bfloat16"):
        tensor = torch.from_numpy(arrays[content])
        return tensor.view(torch.bfloat16) if kind == "bfloat16" else tensor
    if kind == "dict":
        return {_unpack(key, arrays): _unpack(value, arrays) for key, value in content}
    parts = [_unpack(part, arrays) for part in content]
    return parts if kind == "list" else tuple(parts)


def config_of(state: dict[str, Any]) -> Config:
    """Return the configuration that a run was started with.

    Raises:
        ResumeError: this version of the program does not accept it.
    """
    try:
        return parse_config(state[TRAINING]["config"], "checkpoint")
    except ConfigError as error:
        raise ResumeError(str(error)) from error


def restore(state: dict[str, Any], recipe: Recipe) -> int:
    """Put a run back where it was; returns the last step done.

    Raises:
        ResumeError: the networks differ from those of the configuration.
    """
    run = state[TRAINING]
    try:
        for name, network in recipe.networks.items():
            network.load_state_dict(state[name])
        for name, optimiser in recipe.optimisers.items():
            optimiser.load_state_dict(run["optimisers"][name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise ResumeError(f"the checkpoint is of another network: {error}") from error
    set_random_state(run["random"])
    return int(run["step"])


def random_state() -> dict[str, Any]:
    """Return the state of every global source of random numbers.

    Our own steps draw from none of them (`training.augment.StepRandom`); a network that somebody
    adds may.
    """
    name, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)
    python = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.array(keys)), place, has_gauss, gauss],
        "python": [python[0], list(python[1]), python[2]],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned; GPUs are left out if their number has changed."""
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, place, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy(), place, has_gauss, gauss))
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words), gauss_next))
