"""Colours by a file's numbers: held against the formulas of the standards, written here again."""

import io
import struct
import zlib

import numpy as np
import pi_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.reading.profiles import PRIMARIES, make_profile
from photo2cartoon.pipeline.reading.srgb import to_rgb

Floats = NDArray[np.float64]
LIMIT = 10**6
SKIN = (200, 120, 90)
CODES = np.linspace(0, 1, 4096)
SRGB_CURVE = np.where(CODES <= 0.04045, CODES / 12.92, ((CODES + 0.055) / 1.055) ** 2.4)


def xyz_of(primaries: int) -> Floats:
    white, *rgb = np.reshape(PRIMARIES[primaries], (4, 2))
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in rgb]).T
    point = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    return columns * np.linalg.solve(columns, point)


def srgb_of(light: Floats, primaries: int) -> Floats:
    """Right sRGB, 0..255, of linear light in primaries whose white is D65."""
    linear = (np.linalg.inv(xyz_of(1)) @ xyz_of(primaries) @ light).clip(0, 1)
    linear = linear.astype(np.float64)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255


def linear(colour: tuple[int, ...]) -> Floats:
    codes = np.array(colour) / 255
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def pq(light: float) -> float:
    """Return the code 0..1 of so many cd/m2."""
    power = (light / 10000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def encoded(image: Image.Image, name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def flat(colour: tuple[int, ...] | int, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (64, 48), colour)


def png_with(image: Image.Image, *chunks: tuple[bytes, bytes]) -> bytes:
    data = encoded(image)
    extra = b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
    return data[:33] + extra + data[33:]


def avif_with(image: Image.Image, primaries: int, transfer: int) -> bytes:
    data = bytearray(encoded(image, "AVIF", quality=100, subsampling="4:4:4"))
    place = data.find(b"colrnclx") + 8
    data[place : place + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def middle(data: bytes) -> Floats:
    return np.asarray(decode_image(data, LIMIT)[24, 32], np.float64)


def assert_close(found: Floats, right: Floats, most: float = 3) -> None:
    assert np.abs(found - right).max() <= most, (found, right)


def gray_profile(gamma: float) -> bytes:
    """A profile for gray: an RGB one's header, white and curve under gray's names."""
    rgb = make_profile(PRIMARIES[1], CODES**gamma)
    tags = [(rgb[k : k + 4], rgb[k + 4 : k + 12]) for k in range(132, 132 + 12 * 7, 12)]
    kept = b"".join(name + rest for name, rest in tags if name in (b"wtpt", b"rTRC"))
    table = struct.pack(">I", 2) + kept.replace(b"rTRC", b"kTRC")
    return rgb[:16] + b"GRAY" + rgb[20:128] + table.ljust(4 + 12 * 7, b"\0") + rgb[132 + 12 * 7 :]


@pytest.mark.parametrize("primaries", [9, 12])
def test_wide_primaries_of_avif_are_brought_to_srgb(primaries: int) -> None:
    right = srgb_of(linear(SKIN), primaries)
    assert np.abs(right - SKIN).max() > 10
    assert_close(middle(avif_with(flat(SKIN), primaries, 13)), right)


def test_an_icc_profile_in_avif_goes_before_its_numbers() -> None:
    profile = make_profile(PRIMARIES[12], SRGB_CURVE)
    data = encoded(flat(SKIN), "AVIF", quality=100, subsampling="4:4:4", icc_profile=profile)
    assert_close(middle(data), srgb_of(linear(SKIN), 12))


@pytest.mark.parametrize("transfer", [1, 2, 6, 13, 14])
def test_usual_numbers_change_nothing(transfer: int) -> None:
    assert_close(middle(avif_with(flat(SKIN), 1, transfer)), np.array(SKIN, float), 1)


def test_the_numbers_of_heic_are_read() -> None:
    """pi-heif decodes only, so what it states of a file is set upon a picture here."""
    image = flat(SKIN)
    image.info["nclx_profile"] = {"color_primaries": 12, "transfer_characteristics": 13}
    assert_close(to_rgb(image)[24, 32].astype(float), srgb_of(linear(SKIN), 12))
    stated = pi_heif.HeifImageFile(io.BytesIO(avif_with(flat(SKIN), 12, 16))).info["nclx_profile"]
    assert (stated["color_primaries"], stated["transfer_characteristics"]) == (12, 16)


@pytest.mark.parametrize("primaries", [1, 9, 12])
def test_pq_is_mapped_with_diffuse_white_as_white(primaries: int) -> None:
    for share in (1.0, 0.5, 0.18, 0.02):
        code = round(pq(203 * share) * 255)
        data = avif_with(flat((code,) * 3), primaries, 16)
        assert_close(middle(data), srgb_of(np.full(3, share), 1), 5)
    assert middle(avif_with(flat((220,) * 3), primaries, 16)).min() == 255  # a highlight


def test_hlg_is_mapped_with_diffuse_white_as_white() -> None:
    assert_close(middle(avif_with(flat((191,) * 3), 9, 18)), np.full(3, 255.0), 3)  # 75 percent
    # BT.2408: a gray card of 18 % at 38 %, shown with 26 cd/m2.
    assert_close(middle(avif_with(flat((97,) * 3), 9, 18)), srgb_of(np.full(3, 26 / 203), 1), 4)


@pytest.mark.parametrize(
    ("numbers", "right"),
    [
        ((12, 13), srgb_of(linear(SKIN), 12)),
        ((1, 8), srgb_of(np.array(SKIN) / 255, 1)),
        ((1, 4), srgb_of((np.array(SKIN) / 255) ** 2.2, 1)),
        ((1, 13), np.array(SKIN, float)),
        ((77, 99), np.array(SKIN, float)),
    ],
    ids=["Display P3", "linear", "gamma 2.2", "sRGB", "numbers that nobody knows"],
)
def test_a_cicp_chunk_of_png_is_read(numbers: tuple[int, int], right: Floats) -> None:
    swapped = zlib.compress(make_profile(PRIMARIES[9], SRGB_CURVE))  # cICP goes before it
    data = png_with(
        flat(SKIN), (b"cICP", bytes([*numbers, 0, 1])), (b"iCCP", b"other\0\0" + swapped)
    )
    assert_close(middle(data), right, 2)


def test_gamma_and_chromaticities_of_png_are_read() -> None:
    gamma = (b"gAMA", struct.pack(">I", 100_000))
    assert_close(middle(png_with(flat(SKIN), gamma)), srgb_of(np.array(SKIN) / 255, 1), 2)
    usual = (b"gAMA", struct.pack(">I", 45_455))
    assert tuple(middle(png_with(flat(SKIN), usual))) == SKIN
    wide = (b"cHRM", struct.pack(">8I", *(round(x * 100_000) for x in PRIMARIES[12])))
    assert_close(middle(png_with(flat(SKIN), usual, wide)), srgb_of(linear(SKIN), 12), 2)
    srgb = (b"sRGB", b"\0")
    assert tuple(middle(png_with(flat(SKIN), srgb, gamma))) == SKIN
    senseless = (b"cHRM", bytes(32))
    assert tuple(middle(png_with(flat(SKIN), gamma, senseless))) == SKIN


@pytest.mark.parametrize(
    "name", [b"sRGB built-in", b"sRGB EOTF with DCI-P3 Color Gamut", b"camera"]
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_profiles_numbers_decide_and_not_its_name(name: bytes, mode: str) -> None:
    def named(profile: bytes) -> bytes:
        """Give a profile a description, in the place of a tag that repeats another."""
        text = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(80)
        count = int.from_bytes(profile[128:132], "big")
        table = b"".join(
            profile[k : k + 4]
            + struct.pack(">I", int.from_bytes(profile[k + 4 : k + 8], "big") + 12)
            + profile[k + 8 : k + 12]
            for k in range(132, 132 + 12 * count, 12)
        )
        entry = b"desc" + struct.pack(">II", len(profile) + 12, len(text))
        body = struct.pack(">I", count + 1) + entry + table + profile[132 + 12 * count :] + text
        return struct.pack(">I", len(profile) + 12 + len(text)) + profile[4:128] + body

    image = flat(SKIN).quantize(2) if mode == "P" else flat(SKIN).convert(mode)
    wide, light = make_profile(PRIMARIES[12], SRGB_CURVE), make_profile(PRIMARIES[1], CODES)
    own = make_profile(PRIMARIES[1], SRGB_CURVE)
    description = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(named(wide))))
    assert description.strip() == name.decode()
    for name_of_format in ("PNG", "TIFF", "WEBP") if mode != "P" else ("PNG", "TIFF"):
        options = {"lossless": True} if name_of_format == "WEBP" else {}

        def drawn(profile: bytes, form: str = name_of_format, more: object = options) -> Floats:
            return middle(encoded(image, form, icc_profile=named(profile), **more))  # type: ignore[arg-type]

        assert_close(drawn(wide), srgb_of(linear(SKIN), 12), 1)
        assert_close(drawn(light), srgb_of(np.array(SKIN) / 255, 1), 1)
        assert tuple(drawn(own)) == SKIN


@pytest.mark.parametrize("transfer", [16, 18])
def test_a_profile_that_says_pq_or_hlg_is_mapped_as_such(transfer: int) -> None:
    """Such a profile's own curve ends at the display's peak, by which the picture turns black."""
    dark = make_profile(PRIMARIES[9], CODES**8)
    profile = dark.replace(b"wtpt", b"cicp", 1)
    place = int.from_bytes(dark[136:140], "big")
    profile = profile[: place + 8] + bytes([9, transfer, 0, 1]) + profile[place + 12 :]
    code = 148 if transfer == 16 else 191
    assert middle(encoded(flat((code,) * 3), icc_profile=profile)).min() > 250


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1"])
def test_a_gray_profile_is_applied_whatever_the_depth(mode: str) -> None:
    linear_gray = gray_profile(1.0)
    if mode == "1":
        assert middle(encoded(flat(1, "1"), icc_profile=linear_gray)).tolist() == [255.0] * 3
        return
    colour: dict[str, tuple[int, ...] | int] = {"L": 100, "LA": (100, 255), "I;16": 100 * 257}
    for name in ("PNG", "TIFF"):
        data = encoded(flat(colour[mode], mode), name, icc_profile=linear_gray)
        assert_close(middle(data), np.full(3, 168.0), 1)


def test_dark_levels_of_sixteen_bits_keep_their_depth_through_a_profile() -> None:
    data = encoded(flat(400, "I;16"), icc_profile=gray_profile(1.0))
    assert_close(middle(data), srgb_of(np.full(3, 400 / 65535), 1), 1)


def test_a_half_transparent_gray_is_brought_to_srgb_before_it_is_laid_on_white() -> None:
    data = encoded(flat((100, 128), "LA"), icc_profile=gray_profile(1.0))
    assert_close(middle(data), np.full(3, 255 + (168 - 255) * 128 / 255), 1)


def test_a_colour_profile_on_gray_is_applied_to_its_colours() -> None:
    light = make_profile(PRIMARIES[12], CODES)
    for mode, colour in (("L", 100), ("I;16", 100 * 257)):
        assert_close(middle(encoded(flat(colour, mode), icc_profile=light)), np.full(3, 168.0), 2)


def test_a_gray_profile_on_colours_is_ignored() -> None:
    assert tuple(middle(encoded(flat(SKIN), icc_profile=gray_profile(1.0)))) == SKIN


def test_lab_is_converted() -> None:
    lab = Image.merge("LAB", [Image.new("L", (64, 48), level) for level in (153, 128, 128)])
    assert_close(middle(encoded(lab, "TIFF")), np.full(3, 145.0), 4)  # L* = 60, a* = b* = 0
