"""The clients that people have, unchanged, against a real server."""

import base64
import io
from typing import Any

import numpy as np
import openai
import pytest
import tritonclient.http
from PIL import Image
from tritonclient.utils import InferenceServerException

from tests.server import Server, post


@pytest.fixture
def files(photo: bytes) -> tuple[str, bytes, str]:
    return ("me.jpg", photo, "image/jpeg")


def test_openai_edits_an_image(server: Server, photo: bytes, files: Any) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        names = [model.id for model in client.models.list()]
        assert "comic" in names
        assert client.models.retrieve("comic").owned_by == "photo2cartoon"
        edited = client.images.edit(
            image=files, prompt="a cartoon", model="comic", response_format="b64_json", n=1
        )
        drawn = base64.b64decode(edited.data[0].b64_json)
        assert drawn == post(server.url, photo, params={"style": "comic"}).content
        clear = client.images.edit(
            image=[files],
            prompt="a cartoon",
            model="comic",
            size="512x512",
            background="transparent",
            output_format="webp",
            quality="high",
        )
        image = Image.open(io.BytesIO(base64.b64decode(clear.data[0].b64_json)))
        assert (image.format, image.mode) == ("WEBP", "RGBA")
        with pytest.raises(openai.UnprocessableEntityError, match="style must be one of") as wrong:
            client.images.edit(image=files, prompt="a cartoon", model="gpt-image-1")
        assert wrong.value.code == "invalid_option"


def test_tritonclient_infers(server: Server, photo: bytes) -> None:
    plain = post(server.url, photo, params={"style": "comic"}).content
    pixels = np.asarray(Image.open(io.BytesIO(plain)))
    with tritonclient.http.InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("comic")
        assert client.get_model_metadata("comic")["inputs"][0]["datatype"] == "BYTES"
        sent = tritonclient.http.InferInput("photo", [1], "BYTES")
        sent.set_data_from_numpy(np.array([photo], dtype=object))
        assert client.infer("comic", [sent]).as_numpy("cartoon")[0] == plain
        for binary in (True, False):
            wanted = [
                tritonclient.http.InferRequestedOutput(name, binary_data=binary)
                for name in ("cartoon", "pixels")
            ]
            result = client.infer("comic", [sent], outputs=wanted, request_id="7")
            assert np.array_equal(result.as_numpy("pixels"), pixels)
            cartoon = result.as_numpy("cartoon")[0]
            assert (cartoon if binary else base64.b64decode(cartoon)) == plain
            assert result.get_response()["id"] == "7"
        text = tritonclient.http.InferInput("photo", [1], "BYTES")
        encoded = np.array([base64.b64encode(photo)], dtype=object)
        text.set_data_from_numpy(encoded, binary_data=False)
        clear = client.infer(
            "comic",
            [text],
            outputs=[tritonclient.http.InferRequestedOutput("pixels")],
            parameters={"background": "transparent"},
        )
        assert clear.as_numpy("pixels").shape == (*pixels.shape[:2], 4)
        with pytest.raises(InferenceServerException, match="fewer faces than the index"):
            client.infer("comic", [sent], parameters={"faces": 7})
