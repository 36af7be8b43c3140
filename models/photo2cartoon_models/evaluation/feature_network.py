"""EfficientNet-Lite2 as the feature network: vectors for KID, and distances of two pictures."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photo2cartoon_models.evaluation.pictures import Image, Progress
from photo2cartoon_models.networks.features import EVALUATION, LiteFeatures
from photo2cartoon_models.preprocess import to_tensor

Vectors = NDArray[np.float32]

NAME = f"EfficientNet-Lite{EVALUATION}"
BATCH = 8


class FeatureNetwork:
    """The network, and whoever wants to know how far it is."""

    def __init__(self, progress: Progress) -> None:
        self._features = LiteFeatures(EVALUATION, evaluation=True)
        self._progress = progress

    @torch.inference_mode()
    def pool(self, pictures: Iterable[Image], count: int, what: str) -> Vectors:
        """The vector before the classifier of each of `count` pictures: (count, 1280)."""
        vectors: list[Vectors] = []
        for batch in in_batches(pictures):
            vectors.extend(self._features.pooled(_stack(batch)).numpy())
            self._progress(f"features: {what}", len(vectors), count)
        return np.stack(vectors)

    @torch.inference_mode()
    def distances(self, ours: Iterable[Image], theirs: Iterable[Image]) -> list[float]:
        """How far each picture is from its partner: 0 for the same, about 1 for strangers.

        The absolute difference of the feature maps by the size of the partner's, mean of the five
        strides.
        """
        distances: list[float] = []
        for a, b in zip(in_batches(ours), in_batches(theirs), strict=True):
            maps = zip(
                self._features(_stack(a)).values(), self._features(_stack(b)).values(), strict=True
            )
            relative = [(x - y).abs().sum((1, 2, 3)) / y.abs().sum((1, 2, 3)) for x, y in maps]
            distances.extend(torch.stack(relative).mean(0).tolist())
        return distances


def in_batches(pictures: Iterable[Image]) -> Iterator[list[Image]]:
    """Lists of `BATCH` pictures, the last one shorter."""
    batch = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _stack(pictures: list[Image]) -> Tensor:
    return torch.from_numpy(np.stack([to_tensor(picture) for picture in pictures]))
