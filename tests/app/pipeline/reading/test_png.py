"""What is no picture in a PNG never costs the photo: long texts, damage, wrong checksums."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from photo2cartoon.ground.errors import UndecodableImage
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.reading.png import strip_png
from photo2cartoon.pipeline.reading.profiles import PRIMARIES, make_profile
from tests.app.pipeline.pictures import chunk, corners

LIMIT = 10**6
LONG = zlib.compress(b"<x:xmpmeta>" + b" " * 3_000_000 + b"</x:xmpmeta>", 9)
EXIF = Image.Exif()
EXIF[ExifTags.Base.Orientation] = 6


def plain(**options: object) -> bytes:
    buffer = io.BytesIO()
    corners().save(buffer, "PNG", **options)
    return buffer.getvalue()


def before(added: bytes) -> bytes:
    """Put a chunk before the picture's data."""
    return plain()[:33] + added + plain()[33:]


def after(added: bytes) -> bytes:
    return plain()[:-12] + added + plain()[-12:]


METADATA = [
    (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
    (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + bytes(2_000_000)),
    (b"zTXt", b"workflow\0\0" + LONG),
    (b"zTXt", b"Raw profile type exif\0\0" + LONG),
    (b"tEXt", b"prompt\0" + b"x" * 2_000_000),
    (b"iCCP", b"long\0\0" + zlib.compress(bytes(20_000_000), 9)),
    (b"iCCP", b"damaged\0\0" + b"no zlib"),
    (b"zTXt", b"damaged\0\0no zlib"),
    (b"iTXt", b"short"),
    (b"eXIf", b"MM\0*\xff\xff\xff\xff"),
    (b"pHYs", b"short"),
    (b"gAMA", b""),
    (b"cHRM", b"short"),
    (b"sRGB", b""),
    (b"tIME", b""),
    (b"cICP", b"\1"),
    (b"tEXt", b"Comment\0x"),
    (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
    (b"acTL", struct.pack(">II", 2**31, 0)),
    (b"npTc", bytes(40)),
]


@pytest.mark.parametrize("sound", [True, False], ids=["sound", "wrong checksum"])
@pytest.mark.parametrize("place", [before, after])
@pytest.mark.parametrize(("name", "content"), METADATA)
def test_metadata_change_nothing(name: bytes, content: bytes, place: object, sound: bool) -> None:
    assert callable(place)
    data = place(chunk(name, content, sound=sound))
    np.testing.assert_array_equal(decode_image(data, LIMIT), np.asarray(corners()))


def test_many_texts_change_nothing() -> None:
    data = before(chunk(b"zTXt", b"a\0\0" + LONG) * 100)
    np.testing.assert_array_equal(decode_image(data, LIMIT), np.asarray(corners()))
    assert len(strip_png(data).data) <= len(plain())


def test_a_large_profile_is_applied_all_the_same() -> None:
    profile = make_profile(PRIMARIES[1], np.linspace(0, 1, 4096))
    long = chunk(b"iCCP", b"long\0\0" + zlib.compress(profile + bytes(1_200_000)))
    image = Image.new("RGB", (64, 48), (60, 40, 30))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = buffer.getvalue()
    assert decode_image(data[:33] + long + data[33:], LIMIT)[0, 0].tolist() == [133, 110, 96]


@pytest.mark.parametrize(
    "added",
    [
        chunk(b"eXIf", EXIF.tobytes()[6:]),
        chunk(
            b"iTXt",
            b"XML:com.adobe.xmp\0\0\0\0\0"
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/>'
            b"</rdf:RDF></x:xmpmeta>",
        ),
    ],
    ids=["EXIF", "XMP"],
)
def test_an_orientation_is_still_found(added: bytes) -> None:
    assert decode_image(before(added), LIMIT).shape == (64, 48, 3)
    assert decode_image(after(added), LIMIT).shape == (64, 48, 3)


def test_a_wrong_checksum_of_transparency_leaves_the_picture_opaque() -> None:
    grey = Image.new("L", (8, 8), 7)
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")
    data = buffer.getvalue()
    shown = {
        sound: decode_image(data[:33] + chunk(b"tRNS", b"\0\7", sound=sound) + data[33:], LIMIT)
        for sound in (True, False)
    }
    assert (shown[True] == 255).all()
    assert (shown[False] == 7).all()


def test_a_missing_end_and_one_with_a_wrong_checksum_change_nothing() -> None:
    for data in (plain()[:-12], plain()[:-1], plain()[:-4] + b"abcd", plain() + b"rubbish"):
        np.testing.assert_array_equal(decode_image(data, LIMIT), np.asarray(corners()))


def test_a_damaged_header_is_refused() -> None:
    data = bytearray(plain())
    data[20] ^= 1
    with pytest.raises(UndecodableImage):
        decode_image(bytes(data), LIMIT)
