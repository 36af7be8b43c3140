"""Groups of people: as many photos of each, and how evenly their likeness is kept."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from photo2cartoon_models.evaluation import measures
from photo2cartoon_models.evaluation.pictures import Photo

Report = dict[str, Any]

SMALLEST = 10  # photos; the mean of fewer is an anecdote
PERCENT = 95  # of equal groups, by chance


def draw_sample(photos: list[Photo], count: int, seed: int) -> list[Photo]:
    """Draw at most `count` photos of each group; those without a group are one group.

    A digest of seed and name decides, so that a photo's chance is the same on every machine,
    whatever other photos there are.
    """
    members: dict[str, list[Photo]] = {}
    for photo in sorted(photos, key=lambda photo: _number(f"{seed}/{photo.name}")):
        members.setdefault(photo.group, []).append(photo)
    drawn = {photo.name for group in members.values() for photo in group[:count]}
    return [photo for photo in photos if photo.name in drawn]


def _number(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def compare_groups(groups: Sequence[str], distances: Sequence[float]) -> Report:
    """Identity distance by group, and the furthest group's by the nearest's.

    Args:
        groups: the group of each photo; empty if it has none.
        distances: of each photo and its cartoon.

    Returns:
        `rows`: each group's mean, nearest first; `ratio`: the furthest's by the nearest's, of
        groups with `SMALLEST` photos and more, None if these are fewer than two; `chance`: the
        ratio below which `PERCENT` % of the draws remain that deal the same photos out to groups of
        the same sizes by chance.
    """
    values, labels = np.asarray(distances, np.float64), np.asarray(groups)
    means = {name: measures.mean(values[labels == name]) for name in sorted({*groups} - {""})}
    nearest_first = sorted(means, key=lambda name: means[name].value)
    rows = [{"group": name, **asdict(means[name].estimate())} for name in nearest_first]
    counted = [name for name in nearest_first if means[name].count >= SMALLEST]
    report: Report = {"rows": rows, "ratio": None, "chance": None}
    if len(counted) < 2 or means[counted[0]].value <= 0:
        return report
    ratio = means[counted[-1]] / means[counted[0]]
    report["ratio"] = {"furthest": counted[-1], "nearest": counted[0], **asdict(ratio.estimate())}
    chosen = np.isin(labels, counted)
    report["chance"] = _by_chance(values[chosen], [means[name].count for name in counted])
    return report


def _by_chance(distances: measures.Samples, sizes: list[int]) -> float:
    rng = np.random.default_rng(measures.SEED)
    starts = np.cumsum([0, *sizes[:-1]])
    dealt = rng.permuted(np.tile(distances, (measures.RESAMPLES, 1)), axis=1)
    means = np.add.reduceat(dealt, starts, axis=1) / sizes
    return float(np.percentile(means.max(1) / means.min(1), PERCENT))
