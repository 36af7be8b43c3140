"""BentoML: one worker process a core, each with one thread and its share of `max_concurrency`.

Beyond that 429, at once; 504 when the deadline is over. A connection stays with its worker, so one
may refuse while the other idles. On stages that only sleep, goodput at 2x overload is 0.97 of
capacity with room for 8, 0.89 for 10, 0.24 without a limit; at 80 % load room for 8 refuses 6 %.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline

# `bentoml serve` imports this file, so its numbers come by the environment.
NUMBERS = "SERVING_PEER"
WORKERS, DEADLINE_MS, WORK_MS = map(int, os.environ.get(NUMBERS, "1 1000 100").split())


@bentoml.service(
    workers=WORKERS,
    threads=1,
    traffic={
        "timeout": DEADLINE_MS / 1000,
        "max_concurrency": WORKERS * (round(DEADLINE_MS / WORK_MS) - 1),
    },
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Cartoonist:
    """A file in, as BentoML takes pictures that the service decodes itself; bytes out."""

    def __init__(self) -> None:
        self.pipeline = open_pipeline(Settings())

    @bentoml.api(route="/cartoonize")
    def cartoonize(
        self, photo: Annotated[Path, ContentType("image/*")], /
    ) -> Annotated[bytes, ContentType("image/png")]:
        (picture,) = self.pipeline.cartoonize(photo.read_bytes())
        return picture


def main(port: str, *numbers: str) -> None:
    os.environ |= {NUMBERS: " ".join(numbers), "BENTOML_DO_NOT_TRACK": "true"}
    command = ["bentoml", "serve", f"{__spec__.name}:Cartoonist", "--port", port]
    os.execvp(command[0], [*command, "--host", "127.0.0.1"])


if __name__ == "__main__":
    main(*sys.argv[1:])
