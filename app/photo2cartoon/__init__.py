"""The service and the pipeline behind it: photo in, cartoon out. Never imports torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from photo2cartoon.predictor import Photo2CartoonPredictor

__all__ = ["Photo2CartoonPredictor"]


def __getattr__(name: str) -> Any:
    """Load the predictor when it is asked for: importing a part of `app` should not load all."""
    if name == "Photo2CartoonPredictor":
        from photo2cartoon.predictor import Photo2CartoonPredictor  # noqa: PLC0415 - that is the point

        return Photo2CartoonPredictor
    raise AttributeError(f"module 'app' has no attribute {name!r}")
