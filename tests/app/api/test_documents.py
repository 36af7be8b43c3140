"""Answers with more than a picture: JSON and ZIP."""

import base64
import io
import json
import zipfile
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import PNG, assert_problem, picture

JSON = {"accept": "application/json", "content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def two_faces(photo: bytes) -> bytes:
    """The photo twice, side by side: 1024 x 512."""
    one = Image.open(io.BytesIO(photo))
    scene = Image.new("RGB", (1024, 512))
    scene.paste(one, (0, 0))
    scene.paste(ImageOps.mirror(one), (512, 0))
    buffer = io.BytesIO()
    scene.save(buffer, "PNG")
    return buffer.getvalue()


def read_data_url(text: str) -> tuple[str, bytes]:
    head, _, data = text.partition(",")
    return head.removeprefix("data:").removesuffix(";base64"), base64.b64decode(data)


def test_json_holds_the_picture_and_what_was_seen(client: TestClient, photo: bytes) -> None:
    answer = client.post("/cartoonize", content=photo, headers=JSON)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-cache"
    document = answer.json()
    plain = client.post("/cartoonize", content=photo, headers=PNG)
    (shown,) = document["pictures"]
    assert read_data_url(shown.pop("image")) == ("image/png", plain.content)
    assert np.shape(shown.pop("from_photo")) == (2, 3)
    assert shown == {"faces": [0], "media_type": "image/png", "width": 256, "height": 256}
    assert document["etag"] == plain.headers["etag"]
    assert document["request_id"] == answer.headers["x-request-id"]
    assert (document["style"], document["compose"]) == (LITE, "portrait")
    assert document["digest"] == client.get("/readyz").json()["models"][LITE]
    assert document["photo"] == {"width": 512, "height": 512}
    assert {"read", "decode", "detect", "generate", "encode"} < set(document["timings_ms"])
    (face,) = document["faces"]
    left, top, right, bottom = face["box"]
    assert (face["index"], face["drawn"]) == (0, True)
    assert 150 < left < 200 < right < 300
    assert 60 < top < 120 < bottom < 200
    eyes = face["landmarks"]["eyes"]
    assert left < eyes[0][0] < eyes[1][0] < right
    xs = [x for x, _ in face["landmarks"]["outline"]]
    assert (min(xs), max(xs)) == (left, right)
    quality = face["quality"]
    assert quality["face_px"] == pytest.approx(max(right - left, bottom - top), abs=0.2)
    assert 0.3 < quality["matte_coverage"] < 0.9
    assert 10 < quality["colour"] < 40


def test_quality_tells_a_soft_dark_or_gray_photo(client: TestClient, photo: bytes) -> None:
    plain = Image.open(io.BytesIO(photo)).convert("RGB")
    soft = plain.resize((128, 128)).resize((512, 512), Image.Resampling.BICUBIC)

    def quality(image: Image.Image) -> dict[str, float]:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        answer = client.post("/cartoonize", content=buffer.getvalue(), headers=JSON)
        measured: dict[str, float] = answer.json()["faces"][0]["quality"]
        return measured

    good = quality(plain)
    assert quality(soft)["sharpness"] < 0.3 * good["sharpness"]
    assert quality(plain.point(lambda level: level // 2))["exposure"] < 0.6 * good["exposure"]
    assert quality(plain.convert("L"))["colour"] < 1 < good["colour"]
    lost = quality(plain.point(lambda level: 255 if level > 150 else level))
    assert lost["clipped"] > 0.2 > good["clipped"]


def test_places_are_in_pixels_of_the_upright_photo(client: TestClient, photo: bytes) -> None:
    """Of a large JPEG only a half is decoded, and a phone stores it on its side."""
    small = client.post("/cartoonize", content=photo, headers=JSON).json()["faces"][0]
    scene = Image.new("RGB", (3000, 2700), "gray")
    scene.paste(Image.open(io.BytesIO(photo)).resize((2048, 2048)), (0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    buffer = io.BytesIO()
    scene.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", exif=exif)
    document = client.post("/cartoonize", content=buffer.getvalue(), headers=JSON).json()
    assert document["photo"] == {"width": 3000, "height": 2700}
    large = document["faces"][0]
    assert large["box"] == pytest.approx([4 * edge for edge in small["box"]], abs=15)


def encode(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def upright(photo: bytes) -> bytes:
    return photo


def tilted(photo: bytes) -> bytes:
    return encode(Image.open(io.BytesIO(photo)).rotate(25, Image.Resampling.BICUBIC))


def close_up(photo: bytes) -> bytes:
    """A face that fills its photo: the picture shows less than the face's square."""
    return encode(Image.open(io.BytesIO(photo)).crop((170, 60, 280, 180)))


def on_its_side(photo: bytes) -> bytes:
    """A large JPEG, of which a half is decoded, stored as a phone does."""
    exif = Image.Exif()
    exif[0x0112] = 6
    large = Image.open(io.BytesIO(photo)).resize((2900, 2900))
    return encode(large.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)


@pytest.mark.parametrize("kind", [upright, tilted, close_up, on_its_side])
@pytest.mark.parametrize("query", ["", "style=comic&size=512", "compose=scene"])
def test_the_map_leads_from_the_eyes_in_the_photo_to_those_drawn(
    client: TestClient, photo: bytes, kind: Any, query: str
) -> None:
    """The drawn face lies where the map puts the photo's: nowhere near do they match better."""
    sent = kind(photo)
    document = client.post(f"/cartoonize?{query}", content=sent, headers=JSON).json()
    (shown,), (face,) = document["pictures"], document["faces"]
    rows = np.array(shown["from_photo"])
    eyes = np.array(face["landmarks"]["eyes"]) @ rows[:, :2].T + rows[:, 2]
    drawn = Image.open(io.BytesIO(read_data_url(shown["image"])[1])).convert("L")
    whole = ImageOps.exif_transpose(Image.open(io.BytesIO(sent))).convert("L")
    mapped = cv2.warpAffine(np.asarray(whole), rows, drawn.size)
    apart, middle = np.linalg.norm(eyes[1] - eyes[0]), eyes.mean(axis=0)
    reach = round(0.06 * drawn.width)
    low, high = [reach] * 2, [side - reach for side in drawn.size]
    left, top = (middle - np.array([0.8, 0.3]) * apart).clip(low, high).astype(int)
    right, bottom = (middle + np.array([0.8, 0.8]) * apart).clip(low, high).astype(int)
    face_drawn = np.asarray(drawn)[top:bottom, left:right]
    around = mapped[top - reach : bottom + reach, left - reach : right + reach]
    matches = cv2.matchTemplate(around, face_drawn, cv2.TM_CCOEFF_NORMED)
    _, best, _, place = cv2.minMaxLoc(matches)
    assert best > 0.6
    np.testing.assert_allclose(place, reach, atol=0.015 * drawn.width)
    if not query.startswith("compose"):
        np.testing.assert_allclose(eyes[0, 1], eyes[1, 1], atol=0.5)  # level


def test_a_picture_of_the_whole_photo_is_the_photo_shrunk(client: TestClient, photo: bytes) -> None:
    large = encode(Image.open(io.BytesIO(photo)).crop((0, 0, 512, 340)).resize((2560, 1700)))
    query = "/cartoonize?compose=whole&style=comic"
    (shown,) = client.post(query, content=large, headers=JSON).json()["pictures"]
    assert shown["width"] < 2560
    across, down = shown["width"] / 2560, shown["height"] / 1700
    expected = [[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]]
    np.testing.assert_allclose(shown["from_photo"], expected, atol=2e-6)


def test_several_portraits_are_json_or_zip(client: TestClient, two_faces: bytes) -> None:
    document = client.post("/cartoonize?faces=all", content=two_faces, headers=PNG).json()
    assert [shown["faces"] for shown in document["pictures"]] == [[0], [1]]
    assert [face["drawn"] for face in document["faces"]] == [True, True]
    assert document["etag"] is None
    images = [read_data_url(shown["image"])[1] for shown in document["pictures"]]
    single = client.post("/cartoonize?faces=1", content=two_faces, headers=PNG)
    assert images[1] == single.content
    assert images[0] != images[1]
    maps = np.array([shown["from_photo"] for shown in document["pictures"]])
    places = [np.linalg.solve(one[:, :2], [128, 128] - one[:, 2]) for one in maps]
    assert places[0][0] < 512 < places[1][0]
    headers = {"accept": "application/zip", **PNG}
    query = "faces=all&format=jpg&background=%23102030"
    answer = client.post(f"/cartoonize?{query}", content=two_faces, headers=headers)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["0.jpg", "1.jpg", "cartoons.json"]
        assert Image.open(archive.open("1.jpg")).format == "JPEG"
        inside = json.loads(archive.read("cartoons.json"))
    files = [(shown["file"], shown["media_type"]) for shown in inside["pictures"]]
    assert files == [("0.jpg", "image/jpeg"), ("1.jpg", "image/jpeg")]
    assert inside["faces"] == document["faces"]


def test_one_face_of_two_is_marked_as_drawn(client: TestClient, two_faces: bytes) -> None:
    document = client.post("/cartoonize?faces=1", content=two_faces, headers=JSON).json()
    assert [face["drawn"] for face in document["faces"]] == [False, True]
    assert [face["quality"] is None for face in document["faces"]] == [True, False]
    assert document["pictures"][0]["faces"] == [1]


def test_a_scene_and_a_whole_photo_are_one_picture(client: TestClient, two_faces: bytes) -> None:
    for query in ("faces=all&compose=scene", "compose=whole&style=comic"):
        document = client.post(f"/cartoonize?{query}", content=two_faces, headers=JSON).json()
        assert [shown["faces"] for shown in document["pictures"]] == [[0, 1]]
        assert document["pictures"][0]["width"] == 1024
    (small,) = client.post(
        "/cartoonize?compose=whole&style=comic", content=picture(), headers=JSON
    ).json()["pictures"]
    assert small["faces"] == []


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),
        ("application/json;q=0.5, text/html", "application/json"),
        ("application/*", "application/json"),
        ("application/json, text/plain, */*", "image/png"),  # what axios sends unasked
        ("application/json, image/webp", "image/webp"),
        ("*/*", "image/png"),
    ],
)
def test_json_is_for_who_takes_no_picture(
    client: TestClient, stubbed: Any, accept: str, media_type: str
) -> None:
    def draw(_photo: bytes, _options: Options, ticket: Ticket) -> list[bytes]:
        if ticket.report:
            ticket.report.from_photo = [((1, 0, 0), (0, 1, 0))]
        return [picture()]

    stubbed(draw)
    answer = client.post("/cartoonize", content=b"x", headers=PNG | {"accept": accept})
    assert answer.headers["content-type"] == media_type


def test_several_portraits_are_no_picture(client: TestClient) -> None:
    headers = PNG | {"accept": "image/png"}
    answer = client.post("/cartoonize?faces=all", content=b"x", headers=headers)
    assert "compose=scene" in assert_problem(answer, 406, "not_acceptable")["detail"]


def test_a_kept_picture_is_examined_all_the_same(pipeline: Pipeline, photo: bytes) -> None:
    settings = Settings(threads=1, cache_bytes=10_000_000)
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        client.post("/cartoonize", content=photo, headers=PNG)
        document = client.post("/cartoonize", content=photo, headers=JSON).json()
    assert document["faces"][0]["quality"]


def test_a_problem_is_the_same_document(client: TestClient) -> None:
    answer = client.post("/cartoonize", content=picture(), headers=JSON)
    assert_problem(answer, 422, "no_face")


def test_the_middle_stands_in_for_a_face(client: TestClient, photo: bytes) -> None:
    """A person whose face is hidden: nothing to detect, somebody to draw."""
    person = Image.open(io.BytesIO(photo)).crop((60, 0, 420, 512))
    person.paste((90, 90, 90), (100, 60, 230, 200))
    buffer = io.BytesIO()
    person.save(buffer, "PNG")
    query = "/cartoonize?on_no_face="
    refused = client.post(f"{query}error", content=buffer.getvalue(), headers=PNG)
    assert_problem(refused, 422, "no_face")
    drawn = client.post(f"{query}centre", content=buffer.getvalue(), headers=JSON)
    document = drawn.json()
    assert document["faces"] == []
    assert document["pictures"][0]["faces"] == []
    assert document["pictures"][0]["width"] == 256
    nobody = client.post(f"{query}centre", content=picture(size=(300, 200)), headers=PNG)
    assert_problem(nobody, 422, "no_face")
    same = [
        client.post(f"/cartoonize{more}", content=photo, headers=PNG).content
        for more in ("", "?on_no_face=centre")
    ]
    assert same[0] == same[1]
