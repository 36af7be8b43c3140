"""Every setting of the service: an environment variable `P2C_*`, typed and described."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "P2C_"


class Settings(BaseSettings):
    """Read once from the environment. A wrong value or an unknown name stops the start."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    threads: int = Field(
        0, ge=0, description="Photos worked on at the same time; 0 takes one per available core."
    )
    max_queue: int = Field(
        64, ge=0, description="Photos that may wait for a thread; more are refused with 503."
    )
    max_body_bytes: int = Field(
        20_000_000, ge=1_000, description="Largest request body, bytes; larger is refused with 413."
    )
    max_pixels: int = Field(
        50_000_000,
        ge=1_000,
        le=178_000_000,  # Pillow itself refuses more
        description="Most pixels of a photo, by its header; more are refused with 413.",
    )
    min_face_px: int = Field(
        32, ge=1, description="Smallest face, px of its longer side; smaller is refused with 422."
    )
    generator: Path | None = Field(
        None, description="A generator (ONNX) in place of the embedded one (docs/method.md)."
    )
    matte_model: Path | None = Field(
        None, description="A matte network (ONNX) in place of the embedded one (docs/method.md)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log lines to write."
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse `P2C_*` names that are no setting: pydantic-settings ignores a misspelling."""
        known = {PREFIX + name.upper() for name in cls.model_fields}
        ours = {name for name in os.environ if name.upper().startswith(PREFIX)}
        unknown = {name for name in ours if name.upper() not in known}
        if unknown:
            raise ValueError(f"unknown settings in the environment: {', '.join(sorted(unknown))}")
        return values
