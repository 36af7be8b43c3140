"""What a run is told: YAML files and `-o key.sub=value`, checked before anything starts.

Keys that PaddleGAN's `configs/ugatit_photo2cartoon.yaml` has keep its names. An unknown key is an
error that lists the known ones; values are read as YAML and never evaluated. Every default is
explained in `docs/training.md`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

CONFIGS = Path(__file__).parent.parent / "configs"
DEFAULT = "fast_photo2cartoon"

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=32, multiple_of=16)]  # px
Texts = Annotated[list[str], BeforeValidator(lambda x: [x] if isinstance(x, str) else x)]
# Keys of PaddleGAN's file that would have to be obeyed, and are not.
FIXED_HERE = {
    "preprocess": "pictures are always resized, cropped and flipped as published "
    "(dataset.train.load_size says how far)",
    "l1_criterion": "L1, mean",
    "mse_criterion": "squared error, mean",
    "bce_criterion": "binary cross entropy on logits, mean",
    "num_workers": "pictures are packed in memory, there are no workers",
    "max_size": "PaddleGAN reads it and does nothing with it",
    "iters_per_epoch": "counted from the data",
    "is_train": "said by the section's name",
    "visiual_interval": "spelled visual_interval here",
    "net_names": "one optimiser for both generators, one for all discriminators",
}


class ConfigError(Exception):
    """The configuration is wrong; the message says where, and what would be right."""


class Section(BaseModel):
    """A part of the configuration; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class GeneratorSection(Section):
    """`ResnetUGATITP2CGenerator` is photo2cartoon's network, `LiteGenerator` ours for CPUs."""

    name: Literal["ResnetUGATITP2CGenerator", "LiteGenerator"] = "ResnetUGATITP2CGenerator"
    input_nc: Literal[3] = 3
    output_nc: Literal[3] = 3
    ngf: Count = 32
    n_blocks: Count = 4
    img_size: Side = 256
    light: bool = True


class DiscriminatorSection(Section):
    name: Literal["UGATITDiscriminator"] = "UGATITDiscriminator"
    input_nc: Literal[3] = 3
    ndf: Count = 32
    n_layers: Annotated[int, Field(ge=4)] = 7


class TrainData(Section):
    """Where the pictures are. `dataroot_p` holds pairs, photo left and cartoon right.

    `shards` are unpacked into the folder of `dataroot_a` first.
    """

    name: Literal["UnpairedDataset"] = "UnpairedDataset"
    shards: Texts = []
    dataroot_a: Path = Path("data/photo2cartoon/trainA")
    dataroot_b: Path = Path("data/photo2cartoon/trainB")
    dataroot_p: Path | None = None
    batch_size: Count = 1
    load_size: Count = 286
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    cache: bool = True


class TestData(Section):
    name: Literal["UnpairedDataset"] = "UnpairedDataset"
    dataroot_a: Path = Path("data/photo2cartoon/testA")
    dataroot_b: Path = Path("data/photo2cartoon/testB")


class DatasetSection(Section):
    train: TrainData = TrainData()
    test: TestData = TestData()


class LogSection(Section):
    """In steps: a line and a row of metrics, a grid of samples."""

    interval: Count = 10
    visual_interval: Count = 500


class SnapshotSection(Section):
    """In steps: `last.pt` is written anew, and a checkpoint is kept for good."""

    interval: Count = 1000
    keep_interval: Count = 10000


class Run(Section):
    """What both recipes share."""

    output_dir: Path = Path("output_dir")
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = False
    dataset: DatasetSection = DatasetSection()
    face_id: Path | None = None
    log_config: LogSection = LogSection()
    snapshot_config: SnapshotSection = SnapshotSection()


class PublishedModel(Section):
    name: Literal["UGATITModel"] = "UGATITModel"
    generator: GeneratorSection = GeneratorSection()
    discriminator_g: DiscriminatorSection = DiscriminatorSection()
    discriminator_l: DiscriminatorSection = DiscriminatorSection(n_layers=5)
    adv_weight: Weight = 1.0
    cycle_weight: Weight = 50.0
    identity_weight: Weight = 10.0
    cam_weight: Weight = 1000.0
    faceid_weight: Weight = 1.0
    rho_clipper: Weight = 1.0
    w_clipper: Weight = 1.0


class AdamSection(Section):
    name: Literal["Adam"] = "Adam"
    weight_decay: Weight = 1e-4
    beta1: Share = 0.5
    beta2: Share = 0.999


class OptimizerSection(Section):
    optimG: AdamSection = AdamSection()  # noqa: N815 - PaddleGAN's name
    optimD: AdamSection = AdamSection()  # noqa: N815


class DecaySection(Section):
    """Constant for `start_epoch` of `start_epoch + decay_epochs` parts of the run, then to 0."""

    name: Literal["LinearDecay"] = "LinearDecay"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    start_epoch: Annotated[int, Field(ge=0)] = 150
    decay_epochs: Count = 150


class PublishedConfig(Run):
    """The recipe that photo2cartoon was trained with. `iterations`, if set, wins over `epochs`."""

    recipe: Literal["published"]
    epochs: Count = 300
    iterations: Count | None = None
    model: PublishedModel = PublishedModel()
    lr_scheduler: DecaySection = DecaySection()
    optimizer: OptimizerSection = OptimizerSection()


class FastModel(Section):
    generator: GeneratorSection = GeneratorSection()
    features: Annotated[list[Literal[0, 1]], Field(min_length=1, max_length=2)] = [0]
    projected_channels: Count = 64
    pixel_ndf: Count = 24
    ema: Share = 0.998


class FastWeights(Section):
    """Weights of the terms; 0 leaves a term out and saves its cost."""

    adversarial: Weight = 0.5
    adversarial_from: Annotated[int, Field(ge=0)] = 0
    adversarial_ramp: Count = 1
    pixel_judge: Weight = 1.0
    content: Weight = 0.7
    landmarks: Weight = 4.0
    identity: Weight = 8.0
    identity_every: Count = 4
    pair_pixels: Weight = 10.0
    pair_features: Weight = 1.0
    colour: Weight = 10.0
    colour_darker: Weight = 0.1
    colour_lighter: Weight = 0.6
    colour_hue: Weight = 0.15
    tone_lift: Annotated[float, Field(gt=0)] = 0.75
    flats: Weight = 0.0
    face_id: Weight = 0.0


class FastAugment(Section):
    """Largest changes, and shares of the pictures that are changed."""

    flip: Share = 0.5
    rotate_degrees: Weight = 6.0
    zoom: Share = 0.08
    shift: Share = 0.03
    brightness: Share = 0.15
    relight: Share = 0.4
    relight_darkest: Share = 0.15
    edge: Share = 0.3
    judge_shift: Share = 0.1
    judge_cutout: Share = 0.3
    judge_darken: Annotated[float, Field(ge=1)] = 2.0


class Stage(Section):
    """Some steps at one size."""

    img_size: Side = 256
    iterations: Count = 6000
    batch_size: Count = 1


class FastOptimizer(Section):
    learning_rate: Annotated[float, Field(gt=0)] = 4e-4
    beta1: Share = 0.0
    beta2: Share = 0.99
    decay_share: Share = 0.4


class FastConfig(Run):
    """One direction, projected discriminators: a style in minutes. The default recipe.

    With `colours: photo` only the lightness of a drawing counts, as in serving.
    """

    recipe: Literal["fast"] = "fast"
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    drawings_share: Share = 0.7
    colours: Literal["drawn", "photo"] = "drawn"
    model: FastModel = FastModel()
    weights: FastWeights = FastWeights()
    augment: FastAugment = FastAugment()
    stages: Annotated[list[Stage], Field(min_length=1)] = [Stage()]
    optimizer: FastOptimizer = FastOptimizer()


Config = PublishedConfig | FastConfig
RECIPES: dict[str, type[Config]] = {"published": PublishedConfig, "fast": FastConfig}


def config_names() -> list[str]:
    """Return the names of the configurations that come along."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def load_config(asked: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a configuration and put overrides in.

    Args:
        asked: the name of one that comes along, or a YAML file. A name wins; a file of the same
            name is `./NAME`.
        overrides: `key.sub=value` each.

    Raises:
        ConfigError: it cannot be read, is not YAML, or something in it is wrong.
    """
    names = config_names()
    path = CONFIGS / f"{asked}.yaml" if str(asked) in names else Path(asked)
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(
            f"{asked}: cannot be read ({reason}); these come along: {', '.join(names)}"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    return override(parse_config(given or {}, str(path)), overrides or [])


def parse_config(given: object, where: str = "config") -> Config:
    """Check a configuration as it came out of a file.

    Raises:
        ConfigError: a key or a value is wrong.
    """
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: a mapping of keys is needed")
    recipe = given.get("recipe", "fast")
    if recipe not in RECIPES:
        raise ConfigError(f"{where}: recipe: one of {', '.join(RECIPES)}, not {recipe!r}")
    kind = RECIPES[recipe]
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        lines = [_explain(kind, problem) for problem in error.errors()]
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from error


def override(config: Config, overrides: list[str]) -> Config:
    """Put `key.sub.0=value` into a configuration; the key must exist, the value is YAML.

    Raises:
        ConfigError: no `=`, no such key, or the value does not fit.
    """
    if not overrides:
        return config
    values = config.model_dump(mode="json")
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"-o {text}: key=value is needed")
        try:
            _put(values, name, yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise ConfigError(f"-o {text}: the value is not YAML") from error
    return parse_config(values, "-o")


def _put(values: Any, name: str, value: object) -> None:
    *way, last = name.split(".")
    for part in way:
        values = values[_key(values, part, name)]
    values[_key(values, last, name)] = value


def _key(place: Any, part: str, name: str) -> str | int:
    """`part` as an index or a key of `place`, which must have it."""
    if isinstance(place, list) and part in map(str, range(len(place))):
        return int(part)
    if isinstance(place, dict) and part in place:
        return part
    there = range(len(place)) if isinstance(place, list) else place
    names = ", ".join(map(str, there)) if isinstance(place, list | dict) else "nothing below it"
    raise ConfigError(f"-o {name}: no key {part!r}; there is: {names}")


def _explain(kind: type[BaseModel], problem: Any) -> str:
    """One line: where, what is wrong, and what there is."""
    place = problem["loc"]
    name = ".".join(map(str, place))
    if problem["type"] != "extra_forbidden":
        return f"{name}: {problem['msg']}"
    last = str(place[-1])
    if last in FIXED_HERE:
        return f"{name}: not a choice here, take it out: {FIXED_HERE[last]}"
    return f"{name}: unknown; there is: {', '.join(_keys_at(kind, place[:-1]))}"


def _keys_at(kind: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    """The keys of the section at `place`."""
    default: Any = kind.model_construct()
    for part in place:
        default = default[0] if isinstance(part, int) else getattr(default, part)
    return list(type(default).model_fields)
