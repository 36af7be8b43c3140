"""Which colours a file's numbers mean: as an ICC profile, however the file states it.

Files state their colours in three ways: by an ICC profile, by three numbers of ITU-T H.273 ("CICP":
the `nclx` box of HEIC and AVIF, the `cICP` chunk of PNG), or by PNG's gamma and chromaticities. The
last two become a small ICC profile here, so that everything takes one way: littleCMS.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Chromaticities = tuple[float, float, float, float, float, float, float, float]

# Chromaticities x, y of white, red, green and blue, by H.273's number of the primaries.
D65, ILLUMINANT_C = (0.3127, 0.329), (0.31, 0.316)
PRIMARIES: Final[dict[int, Chromaticities]] = {
    1: (*D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),  # BT.709 and sRGB
    4: (*ILLUMINANT_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # BT.470 M
    5: (*D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),  # BT.470 B and G
    6: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),  # BT.601, 525 lines
    7: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),  # SMPTE 240M
    8: (*ILLUMINANT_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),  # film
    9: (*D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # DCI-P3
    12: (*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3
    22: (*D65, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),  # EBU 3213
}
GAMMAS: Final[dict[int, float]] = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
PQ, HLG = 16, 18
DIFFUSE_WHITE = 203.0  # cd/m2 of a white sheet in an HDR picture: ITU-R BT.2408
HLG_PEAK = 1000.0  # cd/m2 of the display that HLG is mastered for: ITU-R BT.2100
CURVE_POINTS = 4096

D50: Final = np.array([0.9642, 1.0, 0.8249])
BRADFORD: Final = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def find_profile(info: Mapping[Any, Any]) -> bytes | None:
    """Return the profile that a Pillow image's `info` states, None for sRGB or nothing stated.

    An ICC profile comes first, but for one that itself says by CICP that it is PQ or HLG: its
    curves end at the peak of the display, and the picture would turn black. Then come `nclx` and
    `cICP` (`nclx_profile`), then PNG's `sRGB`, then its `gAMA` and `cHRM`.
    """
    icc: bytes | None = info.get("icc_profile")
    if icc:
        primaries, transfer = _find_cicp_tag(icc)
        return make_cicp_profile(primaries, transfer) if transfer in (PQ, HLG) else icc
    nclx = info.get("nclx_profile")
    if nclx:
        return make_cicp_profile(nclx["color_primaries"], nclx["transfer_characteristics"])
    gamma = info.get("gamma")
    if "srgb" in info or not gamma:
        return None
    white_red_green_blue = info.get("chromaticity", PRIMARIES[1])
    near_srgb = abs(gamma * 2.2 - 1) < 0.02  # the usual 1 / 2.2, by which writers mean sRGB
    curve = _srgb_curve() if near_srgb else _levels() ** (1 / gamma)
    return make_profile(white_red_green_blue, curve)


def make_cicp_profile(primaries: int, transfer: int) -> bytes | None:
    """Make the profile of H.273's numbers, None where they mean sRGB or are not known.

    PQ and HLG are mapped to SDR: diffuse white, 203 cd/m2, becomes white, and what is brighter is
    clipped. Camera curves of SDR video (BT.709 and its equals) are taken for sRGB's, as browsers
    and viewers do.
    """
    if primaries not in PRIMARIES:
        primaries = 1
    plain = transfer not in GAMMAS and transfer not in (PQ, HLG)
    if primaries == 1 and plain:
        return None
    return make_profile(PRIMARIES[primaries], _curve_of(transfer))


def make_profile(chromaticities: Chromaticities, curve: Array) -> bytes:
    """Make an ICC profile (version 2, RGB) of primaries and one curve for all three channels.

    Args:
        chromaticities: x and y of white, red, green and blue.
        curve: linear light 0..1 for evenly spaced codes.

    Raises:
        ValueError: no colours have such chromaticities.
    """
    columns = _to_d50(chromaticities)
    points = np.round(curve.clip(0, 1) * 65535).astype(">u2")
    table = b"curv\0\0\0\0" + struct.pack(">I", points.size) + points.tobytes()
    tags = {b"wtpt": _xyz(D50)}
    for k, channel in enumerate((b"r", b"g", b"b")):
        tags[channel + b"XYZ"] = _xyz(columns[:, k])
        tags[channel + b"TRC"] = table
    return _assemble(tags)


def _curve_of(transfer: int) -> Array:
    codes = _levels()
    if transfer in GAMMAS:
        return np.asarray(codes ** GAMMAS[transfer])
    if transfer == PQ:  # SMPTE ST 2084
        root = codes ** (32 / 2523)
        ratio = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return np.asarray(10000 * ratio ** (16384 / 2610) / DIFFUSE_WHITE)
    if transfer == HLG:  # BT.2100, with the display's gamma of 1.2 taken for each channel alone
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)
        return np.asarray(HLG_PEAK * scene**1.2 / DIFFUSE_WHITE)
    return _srgb_curve()


def _levels() -> Array:
    return np.linspace(0, 1, CURVE_POINTS)


def _srgb_curve() -> Array:
    codes = _levels()
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def _to_d50(chromaticities: Chromaticities) -> Array:
    """Return XYZ of red, green and blue as columns, adapted to D50, white being (1, 1, 1)."""
    pairs = np.reshape(np.asarray(chromaticities, np.float64), (4, 2))
    if not (pairs[:, 1] > 0).all():
        raise ValueError("no colours have such chromaticities")
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in pairs)
    columns = np.stack(colours, axis=1)
    try:
        columns = columns * np.linalg.solve(columns, white)
    except np.linalg.LinAlgError as error:
        raise ValueError("the primaries lie on one line") from error
    gains = (BRADFORD @ D50) / (BRADFORD @ white)
    return np.asarray(np.linalg.inv(BRADFORD) @ (gains[:, None] * (BRADFORD @ columns)))


def _find_cicp_tag(icc: bytes) -> tuple[int, int]:
    """Return primaries and transfer of a profile's `cicp` tag, (2, 2), "unspecified", without."""
    count = int.from_bytes(icc[128:132], "big")
    for k in range(132, 132 + 12 * min(count, 100), 12):
        if icc[k : k + 4] == b"cicp":
            place = int.from_bytes(icc[k + 4 : k + 8], "big") + 8
            numbers = icc[place : place + 2]
            return (numbers[0], numbers[1]) if len(numbers) == 2 else (2, 2)
    return 2, 2


def _xyz(values: Array) -> bytes:
    fixed = [round(float(value) * 65536) for value in values]
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *fixed)


def _assemble(tags: Mapping[bytes, bytes]) -> bytes:
    table, body = b"", b""
    places: dict[bytes, int] = {}  # equal tags share their bytes
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", places[content], len(content))
    header = struct.pack(">I4xI", start + len(body), 0x02400000) + b"mntrRGB XYZ "
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    header = header.ljust(68, b"\0") + _xyz(D50)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
