"""Clients that others wrote, unchanged, against a real service; and one made from openapi.json.

They live in an environment of their own, which `make test-ops` builds: requirements/clients.in.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.places import PHOTO, ROOT
from tests.server import Server

PROGRAMS = ROOT / ".venv-clients" / "bin"
OPENAI = """
client = openai.OpenAI(base_url=url + "/v1", api_key="none")
assert [model.id for model in client.models.list()] == ["comic", "photo2cartoon-lite"]
assert client.models.retrieve("comic").id == "comic"
edited = client.images.edit(
    image=open(photo, "rb"), prompt="a cartoon", model="photo2cartoon-lite", output_format="webp"
)
open(target, "wb").write(base64.b64decode(edited.data[0].b64_json))
try:
    client.images.edit(image=b"no picture", prompt="a cartoon", model="comic")
except openai.APIStatusError as error:
    assert (error.status_code, error.body["code"]) == (415, "unsupported_format")
else:
    raise AssertionError
"""
TRITON = """
client = tritonclient.http.InferenceServerClient(url.removeprefix("http://"))
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("photo2cartoon-lite")
tensor = tritonclient.http.InferInput("photo", [1], "BYTES")
tensor.set_data_from_numpy(numpy.array([open(photo, "rb").read()], dtype=object))
for binary in (True, False):
    outputs = [tritonclient.http.InferRequestedOutput("pixels", binary_data=binary)]
    pixels = client.infer("photo2cartoon-lite", [tensor], outputs=outputs).as_numpy("pixels")
    assert (pixels.shape, pixels.dtype) == ((256, 256, 3), numpy.uint8)
drawn = client.infer("photo2cartoon-lite", [tensor], parameters={"format": "webp"})
open(target, "wb").write(drawn.as_numpy("cartoon")[0])
"""
GENERATED = """
client = generated.Client(base_url=url, headers={"Accept": "application/json"})
body = File(payload=open(photo, "rb"), file_name="me.jpg", mime_type="image/jpeg")
answer = cartoonize.sync(
    client=client, body=body, style="photo2cartoon-lite", format_=CartoonizeFormat.WEBP
)
assert (answer.style, answer.pictures[0].width, answer.faces[0].drawn) == (
    "photo2cartoon-lite", 256, True
)
open(target, "wb").write(base64.b64decode(answer.pictures[0].image.partition(",")[2]))
refused = cartoonize.sync(client=client, body=File(payload=io.BytesIO(b"no picture")))
assert refused.code == "unsupported_format", refused
styles = list_styles.sync(client=client)
assert [style.name for style in styles.styles] == ["comic", "photo2cartoon-lite"]
"""
REFUSALS = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "404", "405", "406", "408", "413", "415", "422", "429", "5xx"]
"""
IMPORTS = {
    OPENAI: "import openai",
    TRITON: "import numpy, tritonclient.http",
    GENERATED: "import generated\n"
    "from generated.api.cartoons import cartoonize, list_styles\n"
    "from generated.models import CartoonizeFormat\n"
    "from generated.types import File",
}


def call(name: str, *arguments: str | Path, folder: Path) -> str:
    """Run a program of the other environment in `folder`; return what it says."""
    assert (PROGRAMS / name).exists(), "`make test-ops` builds .venv-clients"
    environment = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(
        [PROGRAMS / name, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    with Server(P2C_THREADS="1") as service:
        yield service


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the package `generated` was made from openapi.json, without a warning."""
    folder = tmp_path_factory.mktemp("generated")
    description = ROOT / "docs" / "openapi.json"
    kind = ("--meta", "none", "--fail-on-warning")
    place = ("--path", description, "--output-path", folder / "generated")
    call("openapi-python-client", "generate", *place, *kind, folder=folder)
    call("python", "-W", "error", "-m", "compileall", "-q", "generated", folder=folder)
    return folder


@pytest.mark.parametrize("program", IMPORTS, ids=["openai", "tritonclient", "generated"])
def test_a_client_draws_what_the_pipeline_draws(
    service: Server, generated: Path, pipeline: Pipeline, photo: bytes, program: str
) -> None:
    begin = "import base64, io, sys\nurl, photo, target = sys.argv[1:]"
    target = generated / "cartoon.webp"
    target.unlink(missing_ok=True)
    script = f"{begin}\n{IMPORTS[program]}\n{program}"
    call("python", "-c", script, service.url, PHOTO, target, folder=generated)
    assert [target.read_bytes()] == pipeline.cartoonize(photo, Options(format="webp"))


def test_schemathesis_finds_no_failure(service: Server, tmp_path: Path) -> None:
    """Every operation, by examples, borders and chance; all checks but one.

    Left out is that whatever fits the schema is accepted: no schema can say that a file is a photo
    with a face, nor which options go together. What does not fit may be refused for its size too.
    """
    (tmp_path / "schemathesis.toml").write_text(REFUSALS)
    said = call(
        "schemathesis",
        "run",
        f"{service.url}/openapi.json",
        *("--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", "10", "--max-time", "60", "--seed", "1"),
        folder=tmp_path,
    )
    assert "Tested: 15" in said
    generated, passed = re.findall(r"(\d+) generated, (\d+) passed", said)[0]
    assert generated == passed
    assert int(passed) > 100  # 417 in a minute of a busy core
