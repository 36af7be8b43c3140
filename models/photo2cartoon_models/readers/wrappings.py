"""Find one network in what a file holds: under which key, and behind which prefix of its names.

The same weights reach people in many wrappings, by who saved them:

    genA2B                        a file of several networks, ours and minivision's
    state_dict, model, ...        a checkpoint, with the state of an optimizer beside
    module.                       before each name: torch's DataParallel
    _orig_mod.                    before each name, or within: torch.compile
    genA2B., generator., ...      before each name: an attribute of a Lightning module
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import torch

from photo2cartoon_models.readers.weights_error import WeightsError

WRAPPERS: Final = (
    "state_dict", "model_state_dict", "model", "generator", "params_ema", "params", "weights",
)  # fmt: skip
# The first layers of the two generators; what stands before them is a wrapper's prefix.
LANDMARKS: Final = ("ConvBlock1.1.weight", "stem.0.weight")
WRAPPED: Final = re.compile(r"^(?:module\.)+|\b_orig_mod\.")
DEEPEST = 4


class Ignored:
    """Stands for what a torch file holds beside its weights, such as a numpy number."""

    def __init__(self, *_: object) -> None:
        """Take what the file gives, and keep nothing of it."""

    def __setstate__(self, _: object) -> None:
        """Likewise."""


def choose_net(entries: Mapping[str, Any], net: str, depth: int = 0) -> tuple[dict[str, Any], bool]:
    """Return the arrays of one network by their plain names, and whether there were several.

    Raises:
        WeightsError: the file does not hold this network.
    """
    nested = [name for name, value in entries.items() if isinstance(value, Mapping)]
    if net in nested:
        return choose_net(entries[net], net, depth + 1)[0] if depth < DEEPEST else {}, True
    wrapper = next((name for name in WRAPPERS if name in nested), None)
    if wrapper and depth < DEEPEST:
        return choose_net(entries[wrapper], net, depth + 1)
    if nested and not any(map(_is_array, entries.values())):
        raise WeightsError(f"no network {net} in the file; it holds {', '.join(nested)}")
    return _strip(_arrays(entries), net)


def _arrays(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what stands beside the weights: numbers, texts, other networks' state."""
    arrays = {name: value for name, value in entries.items() if _is_array(value)}
    return arrays or dict(entries)


def _is_array(value: object) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray) and value.ndim > 0


def _strip(entries: dict[str, Any], net: str) -> tuple[dict[str, Any], bool]:
    """Take wrappers' prefixes off the names, and keep one network of several."""
    plain = {_unwrap(name): value for name, value in entries.items()}
    prefixes = sorted(_prefixes(plain))
    if not prefixes or "" in prefixes:
        return plain, False
    several = len(prefixes) > 1
    prefix = f"{net}." if several or f"{net}." in prefixes else prefixes[0]
    if prefix not in prefixes:
        found = ", ".join(name.rstrip(".") for name in prefixes)
        raise WeightsError(f"no network {net} in the file; it holds {found}")
    kept = {name: value for name, value in plain.items() if name.startswith(prefix)}
    return {_unwrap(name.removeprefix(prefix)): value for name, value in kept.items()}, several


def _unwrap(name: str) -> str:
    return WRAPPED.sub("", WRAPPED.sub("", name))  # torch.compile of DataParallel, or the reverse


def _prefixes(names: Iterable[str]) -> set[str]:
    """Return what stands before the first layer of each network."""
    return {
        name.removesuffix(landmark)
        for name in names
        for landmark in LANDMARKS
        if name == landmark or name.endswith(f".{landmark}")
    }
