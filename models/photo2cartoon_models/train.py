"""Train: `photo2cartoon train -c NAME -o key.sub=value`.

Under torchrun it is `-m photo2cartoon_models.train` with the same arguments.

Exit code: 0 finished, or the time budget is spent; 2 an argument is wrong; 143 told to stop
(SIGTERM, Ctrl-C). There is a checkpoint in every case but 2.
"""

import argparse
import re
import sys
from difflib import get_close_matches
from pathlib import Path

from photo2cartoon_models.readers.weights_error import WeightsError
from photo2cartoon_models.training.checkpoint import LAST, ResumeError, config_of, read_run
from photo2cartoon_models.training.config import (
    DEFAULT,
    Config,
    ConfigError,
    config_names,
    load_config,
    override,
)
from photo2cartoon_models.training.data import DataError
from photo2cartoon_models.training.loop import CHECKPOINTS, draw_tests, open_fabric, train
from photo2cartoon_models.training.shards import fetch_shards

STOPPED = 143  # 128 + SIGTERM, as a shell says it


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(_describe_unknown(unknown[0], parser))
    try:
        return _run(options)
    except (ConfigError, DataError, ResumeError, WeightsError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line
        return 2


def _run(options: argparse.Namespace) -> int:
    config, resume = _what(options)
    fabric = open_fabric(config, options.accelerator, options.devices)
    fetch_shards(config.dataset.train, fabric)
    if options.evaluate_only:
        if not (resume or options.load):
            raise ConfigError("--evaluate-only needs weights: --load FILE or --resume CHECKPOINT")
        source = read_run(resume) if resume else options.load
        paths = draw_tests(config, fabric, source)
        _say(f"{len(paths)} pictures in {config.output_dir / 'test'}")
        return 0
    done = train(
        config, fabric, _say, resume=resume, load=options.load, max_minutes=options.max_minutes
    )
    return STOPPED if done.end == "signal" else 0


def _what(options: argparse.Namespace) -> tuple[Config, Path | None]:
    """Return the configuration, and the checkpoint to resume from.

    Without `--config-file` a resumed run keeps its own configuration.
    """
    resume = options.resume and Path(options.resume)
    overrides = [text for group in options.override for text in group]
    if options.config_file or not resume or options.resume == "auto":
        config = load_config(options.config_file or DEFAULT, overrides)
    else:
        config = override(config_of(read_run(resume)), overrides)
    if options.resume == "auto":
        last = config.output_dir / CHECKPOINTS / LAST
        resume = last if last.exists() else None
    return config, resume


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _describe_unknown(argument: str, parser: argparse.ArgumentParser) -> str:
    known = re.findall(r"--[\w-]+", parser.format_help())
    close = get_close_matches(argument.partition("=")[0], known, 1)
    return f"unknown argument: {argument}" + (f" (did you mean {close[0]}?)" if close else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photo2cartoon train", description="Train a generator of your own. Needs torch."
    )
    add = parser.add_argument
    add(
        "-c",
        "--config-file",
        metavar="NAME|FILE",
        help=f"one of {', '.join(config_names())} (default: {DEFAULT}), or a YAML file",
    )
    add("-o", "--opt", dest="override", nargs="+", action="append", default=[], metavar="KEY=VALUE",
        help="change values of the configuration: -o seed=1 stages.0.batch_size=4")  # fmt: skip
    add("--resume", metavar="CHECKPOINT", help="continue exactly where this one ended; auto: "
        "the run's own last one, if there is one")  # fmt: skip
    add("--load", "--pretrained_weights", type=Path, metavar="FILE",
        help="start from weights: our checkpoints, .pt, .onnx or .pdparams")  # fmt: skip
    add("--evaluate-only", action="store_true", help="draw the test pictures without training")
    add("--max-minutes", type=float, help="end with a checkpoint after this time")
    add("--accelerator", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add(
        "--devices",
        type=int,
        default=1,
        help="how many of this machine; under torchrun, torchrun decides",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
