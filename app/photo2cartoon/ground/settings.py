"""Settings: typed and described, from the environment (`P2C_*`) and the configuration file."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from photo2cartoon.ground.config_file import VARIABLE, read_config_file
from photo2cartoon.ground.numbers import read_bytes, read_number

PREFIX = "P2C_"
LIKENESS = 0.75  # of 1: from here on a name is taken for a misspelling of a setting's
GENERATOR, LITE = "comic", "photo2cartoon-lite"
STYLES = (Path(GENERATOR), Path(LITE))  # those that one core draws in about a tenth of a second


def _read_list(value: Any) -> Any:
    """Split the environment's text at commas."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


ApiKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}:[0-9a-f]{64}(:[1-9][0-9]{0,5})?$")]

Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/\s]+)$")]


Provider = Literal["auto", "cpu", "openvino", "cuda", "tensorrt"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """Read once, from the arguments, else the environment, else the configuration file.

    A wrong value or a misspelt name stops the start. A variable that is empty counts as not set.

    Raises:
        ValidationError: a value is wrong, or a name is misspelt; see `ground.origins`.
        ConfigFileError: the configuration file cannot be read.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid"
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    page: bool = Field(True, description="Pages for people: `/` and, for programmers, `/docs`.")
    threads: int = Field(
        0, ge=0, description="Photos worked on at the same time; 0 takes one per available core."
    )
    max_queue: int = Field(
        64, ge=0, description="Photos that may wait for a thread; more are refused with 503."
    )
    smaller_from: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of the wait to a refusal from which `on_overload=smaller` takes effect.",
    )
    deadline_ms: int = Field(
        30_000,
        ge=1,
        description="How long a caller waits for the answer, ms, if it does not say: 503, 504.",
    )
    max_deadline_ms: int = Field(
        120_000, ge=1, description="Longest wait that a caller may ask for, ms."
    )
    provider: Provider = Field(
        "auto",
        description="What runs the networks; auto takes CUDA, OpenVINO or ONNX Runtime's CPU.",
    )
    cpu_precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="OpenVINO: of generators; auto takes bfloat16 where the processor has it.",
    )
    device_id: int = Field(0, ge=0, description="CUDA's number of the GPU.")
    tf32: bool = Field(
        True, description="CUDA: float32 factors rounded to 10 bits of mantissa, for speed."
    )
    prefer_nhwc: bool = Field(False, description="CUDA: convolutions with the channels last.")
    conv_search: Literal["heuristic", "exhaustive", "default"] = Field(
        "heuristic", description="CUDA: how cuDNN's kernels are chosen; exhaustive starts slowly."
    )
    cuda_graphs: bool = Field(
        False, description="CUDA: the kernels of each batch size recorded once, launched as one."
    )
    engine_cache: Path = Field(
        Path("engines"),
        description="TensorRT: folder for its engines; one takes minutes to build.",
    )
    max_batch: Annotated[Literal[0, 1, 2, 4, 8, 16, 32], BeforeValidator(read_number)] = Field(
        0, description="Most photos a network takes at once; 0 takes 16 on a GPU, 1 on a CPU."
    )
    max_batch_wait_ms: float = Field(
        0, ge=0, description="How long a network that is free waits for a fuller batch, ms."
    )
    max_photos: int = Field(16, ge=1, description="Most photos of one `/cartoonize/batch`.")
    cache_bytes: int = Field(
        0, ge=0, description="Memory for finished pictures, bytes; 0 keeps none."
    )
    max_body_bytes: int = Field(
        20_000_000, ge=1_000, description="Largest request body, bytes; larger is refused with 413."
    )
    max_batch_bytes: int = Field(
        100_000_000, ge=1_000, description="Largest body of a `/cartoonize/batch`, bytes."
    )
    max_buffered_bytes: int = Field(
        256_000_000, ge=1_000, description="Most bytes of all bodies at hand; more are refused."
    )
    memory_budget: Annotated[int, BeforeValidator(read_bytes), Field(ge=1)] | None = Field(
        None,
        description="Memory for photos that are drawn, bytes or 900Mi; else by the cgroup's limit.",
    )
    max_connections: int = Field(
        1_000, ge=1, description="Most connections; one more ends an idle one, else it is 503."
    )
    max_connections_per_peer: int = Field(
        0,
        ge=0,
        description="Most connections of one address, or IPv6 /64; more are 429; 0: any number.",
    )
    upload_timeout_s: float = Field(
        60, gt=0, description="How long a body may take to arrive, s; longer is ended with 408."
    )
    min_upload_rate: int = Field(
        4_000,
        ge=0,
        description="Least rate of a body after its first 10 s, bytes/s; slower is 408; 0: any.",
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
    generator: Path = Field(
        Path(GENERATOR),
        description="The default style: its name in the manifest, or a file (ONNX) of yours.",
    )
    styles: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_read_list)] = Field(
        STYLES,
        description="Further styles, by commas: names, files, or folders of files.",
    )
    matte_model: Path | None = Field(
        None, description="A matte network (ONNX) in place of the embedded one (docs/method.md)."
    )
    detector: Literal["embedded", "insightface"] = Field(
        "embedded", description="What finds faces (docs/insightface.md)."
    )
    insightface_pack: Path | None = Field(
        None, description="Folder of InsightFace's model files, for that detector."
    )
    manifest_key: str | None = Field(
        None, description="Ed25519 public key, base64 or a PEM file: models must be signed by it."
    )
    start_timeout_s: float = Field(
        600,
        ge=0,
        description="How long models may take to load and to answer once, s; 0: any time.",
    )
    self_test_s: float = Field(
        300, ge=0, description="How often an idle service tests its models again, s; 0: never."
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Prefix under which a proxy publishes the service, such as /toon.",
    )
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_read_list)] = Field(
        (), description="Origins whose pages may call the service, by commas; * for all of them."
    )
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_read_list)] = Field(
        (),
        description="Who may draw, by commas: name:sha256[:requests-at-once]; if none, everyone.",
    )
    drain_delay_s: float = Field(
        0, ge=0, description="After SIGTERM: how long to go on while others learn of it, s."
    )
    grace_s: float = Field(
        30, ge=0, description="After that: how long to finish what was accepted, s."
    )
    log_level: LogLevel = Field("info", description="Least severe log lines to write.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings gives it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, the strongest first."""
        return init_settings, env_settings, read_config_file(settings_cls)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        largest = max(self.max_body_bytes, self.max_batch_bytes)
        if self.max_buffered_bytes < largest:
            raise ValueError("P2C_MAX_BUFFERED_BYTES must hold the largest body that is accepted")
        if self.max_deadline_ms < self.deadline_ms:
            raise ValueError("P2C_MAX_DEADLINE_MS must not be below P2C_DEADLINE_MS")
        names = [entry.partition(":")[0] for entry in self.api_keys]
        if len(set(names)) < len(names):
            raise ValueError("P2C_API_KEYS must give each key a name of its own")
        if self.detector == "insightface" and self.insightface_pack is None:
            raise ValueError("P2C_DETECTOR=insightface needs P2C_INSIGHTFACE_PACK, a folder")
        if self.detector == "insightface" and self.manifest_key:
            raise ValueError(
                "P2C_MANIFEST_KEY excludes P2C_DETECTOR=insightface: no pack is signed"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelt_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse variables that are nearly a setting: pydantic-settings passes over them."""
        close = {name: closest_setting(name) for name in unknown_variables()}
        misspelt = [
            f"{name} (did you mean {variable(meant)}?)" for name, meant in close.items() if meant
        ]
        if misspelt:
            raise ValueError(f"unknown settings in the environment: {', '.join(misspelt)}")
        return values


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def set_variables() -> dict[str, str]:
    """Return the variables `P2C_*` that are not empty, as they are spelt, in order."""
    given = {name: value for name, value in os.environ.items() if value}
    return {name: given[name] for name in sorted(given) if name.upper().startswith(PREFIX)}


def unknown_variables() -> list[str]:
    """Return the names `P2C_*` of the environment that are no setting."""
    known = {variable(name) for name in Settings.model_fields} | {VARIABLE}
    return [name for name in set_variables() if name.upper() not in known]


def closest_setting(name: str) -> str | None:
    """Return the setting that `name` is a misspelling of, with or without the prefix, if any."""
    bare = name.lower().replace("-", "_").removeprefix(PREFIX.lower())
    return next(iter(get_close_matches(bare, Settings.model_fields, 1, LIKENESS)), None)
