"""Weight: the most memory that drawing a photo takes, told from its header and its options.

What decoding and encoding take is measured by `python -m benchmarks.memory`, which also says where
a figure does not hold; what drawing takes (`BASE`, `DRAWN`, `ANSWERED`) was measured by hand. A
photo is decoded into a picture of the decoder's (1 to 4 bytes a pixel) and copied into RGB (3), in
bands; some decoders take more on the way. Then the decoded photo is kept while it is drawn and, of
a scene, while the answer is encoded.
"""

from typing import Final

from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.coded_size import find_boxes
from photo2cartoon.pipeline.cropper import WHOLE_PIXELS, WHOLE_SIDE
from photo2cartoon.pipeline.decode import sniff_format
from photo2cartoon.pipeline.headers import DAMAGED, check_header, jpeg_frame
from photo2cartoon.pipeline.reading.png import CHANNELS
from photo2cartoon.pipeline.reading.tiff import BITS, PHOTOMETRIC, SAMPLES, read_tags
from photo2cartoon.pipeline.styles import FREE_SIZE

MIB: Final = 2**20
BASE: Final = 48 * MIB  # of any drawing, with what the allocator keeps
BASE_ON_GPU: Final = 16 * MIB
DRAWN: Final = 230  # bytes for each pixel that the generator draws
ANSWERED: Final = 48  # of these, what is the crop's, the matte's and the drawing's own
FILES: Final = 2  # copies of the file: stripped, and at the decoder's
RGB: Final = 3  # bytes of a decoded pixel
BANDS: Final = 0.6  # bytes a pixel: bands, and rounding
# Copies of the decoded photo while a face is looked for: one with its shadows lifted, and smaller.
SEARCHED: Final = 1.4
ENCODED: Final = {"png": 13, "jpeg": 8, "webp": 32}  # bytes a pixel while a scene is encoded
# Bytes a pixel while every face of a photo is cut out and drawn, and the most in all.
EVERY_FACE: Final = 24
EVERY_FACE_MOST: Final = 256 * MIB
# Bytes a pixel while a file is decoded, where the header does not make a difference.
WEBP, GIF, HEIC, HEIC_DEEP, AVIF, AVIF_DEEP, UNKNOWN = 21.0, 6.0, 16.0, 22.0, 15.0, 21.0, 30.0


def weigh(photo: bytes, options: Options, max_pixels: int, *, on_gpu: bool = False) -> int:
    """Return the most memory that a photo takes from its decoding to its answer, bytes.

    Args:
        photo: the file; no pixel of it is decoded.
        options: what is drawn of it; settled, or with the format left open.
        max_pixels: most pixels, by the header.
        on_gpu: whether the generator's memory is that of a GPU.

    Raises:
        UnsupportedFormat, TooManyPixels, UndecodableImage: as from `decode_photo`.
    """
    format_name = sniff_format(photo)
    pixels = check_header(photo, format_name, max_pixels)
    decoding, kept = weigh_decoding(photo, format_name, pixels, options)
    drawing = (ANSWERED if on_gpu else DRAWN) * _drawn_pixels(pixels, options)
    if options.faces == "all":
        drawing += min(EVERY_FACE * pixels, EVERY_FACE_MOST)
    searching = (kept - FILES * len(photo)) * SEARCHED
    stages = [decoding, kept + searching, kept + drawing]
    if options.compose == "scene":  # a copy for each head in turn; the photo is not kept after it
        stages += [kept + 2 * RGB * pixels, kept + ENCODED[options.file_format] * pixels]
    return round((BASE_ON_GPU if on_gpu else BASE) + max(stages))


def _drawn_pixels(pixels: int, options: Options) -> int:
    if options.compose == "whole":
        return min(pixels, WHOLE_PIXELS)
    if options.compose == "scene":  # a head at the size that it has
        return min(pixels, 1024 * 1024)
    return (options.size or FREE_SIZE) ** 2


def weigh_decoding(
    photo: bytes, format_name: str, pixels: int, options: Options
) -> tuple[float, float]:
    """Return what a photo takes while it is decoded, and what is kept of it then, bytes.

    Args:
        photo: the file.
        format_name: what `sniff_format` says it is.
        pixels: how many it says it has, from `check_header`.
        options: what is drawn of it.
    """
    try:
        decoding, kept = _decoding(photo, format_name, pixels, options)
    except DAMAGED:  # of a header that the decoder will refuse
        decoding, kept = UNKNOWN * pixels, float(RGB * pixels)
    return FILES * len(photo) + decoding, FILES * len(photo) + kept


def _decoding(photo: bytes, format_name: str, pixels: int, options: Options) -> tuple[float, float]:
    kept = float(RGB * pixels)
    match format_name:
        case "JPEG":
            return _jpeg(photo, pixels, options)
        case "PNG":
            each = _png(photo)
        case "TIFF":
            each = _tiff(photo)
        case "BMP":
            shallow = int.from_bytes(photo[28:30], "little") <= 8
            each = RGB + BANDS + (1 if shallow else 4)
        case "GIF":
            each = GIF
        case "WEBP":
            each = WEBP
        case "AVIF":
            each = AVIF_DEEP if _is_deep(photo) else AVIF
        case _:
            each = HEIC_DEEP if _is_deep(photo) else HEIC
    return each * pixels, kept


def _jpeg(photo: bytes, pixels: int, options: Options) -> tuple[float, float]:
    """Weigh a JPEG: one in several scans holds its coefficients, of 2 bytes each, in full."""
    frame = jpeg_frame(photo)
    if frame is None or not frame.factors:
        return UNKNOWN * pixels, RGB * pixels
    stored = 1 if len(frame.factors) == 1 else 4
    coefficients = 0.0
    if not frame.in_one_scan:
        coefficients = 2.0 * sum(frame.factors) / max(*frame.factors, 1)
    scaled = pixels
    if options.compose == "whole":  # decoded at half its size, or less, and never again
        halvings = 0
        while halvings < 3 and max(frame.size) >= WHOLE_SIDE << (halvings + 1):
            halvings += 1
        scaled = pixels >> 2 * halvings
    decoded = max(coefficients * pixels + stored * scaled, (stored + RGB) * scaled)
    return decoded + BANDS * pixels, RGB * scaled


def _png(photo: bytes) -> float:
    """Return bytes a pixel; one that was cut off is completed from its inflated rows, twice."""
    depth, kind = photo[24], photo[25]
    raw = CHANNELS.get(kind, 4) * depth / 8
    stored = depth / 8 if depth > 8 and kind == 0 else 1 if kind in (0, 3) else 4
    return max(stored + RGB + BANDS, 2 * raw + BANDS)


def _tiff(photo: bytes) -> float:
    """Return bytes a pixel; deep colour may be read by `reading.tiff`, and in one segment."""
    tags = read_tags(photo)
    bits, channels = tags.one(BITS, 1), tags.one(SAMPLES, 1)
    raw = bits * channels / 8
    gray = channels == 1 and tags.one(PHOTOMETRIC) in (0, 1) and bits in (16, 32)
    if bits <= 8 or gray:
        return (max(1, bits / 8) if channels == 1 else 4) + RGB + BANDS + raw
    return 4 * raw + 4 + RGB + BANDS


def _is_deep(photo: bytes) -> bool:
    """Tell whether an AVIF or a HEIC has more than 8 bits a sample."""
    for kind, content in find_boxes(photo):
        if kind == b"av1C" and content[2] & 0x40:
            return True
        if kind == b"hvcC" and content[17] & 7:
            return True
    return False
