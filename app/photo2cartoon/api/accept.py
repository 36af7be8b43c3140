"""Accept: which of our media types a caller likes best (RFC 9110, 12.5.1), in linear time."""

import re
from collections.abc import Iterator, Sequence

MAX_LENGTH = 8_192  # characters; browsers send about 200
QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


def best_match(accept: str, media_types: Sequence[str]) -> str | None:
    """Return the one of `media_types` that `accept` prefers; None where it allows none of them.

    The range that names a type most closely decides on its quality. Of equally good types, the one
    that was named more closely wins, then the last. Parameters other than `q` are ignored, and so
    is a range that cannot be read. A header of more than 8,192 characters allows nothing.

    Args:
        accept: the header's value; an empty one allows everything.
        media_types: what can be sent, `type/subtype` in lower case.
    """
    if len(accept) > MAX_LENGTH:
        return None
    ranges = dict(_ranges(accept)) if accept.strip() else {"*/*": 1.0}
    best, best_rank = None, (0.0, 0)
    for media_type in media_types:
        main_type = media_type.partition("/")[0]
        for closeness, name in ((3, media_type), (2, f"{main_type}/*"), (1, "*/*")):
            if name in ranges:
                rank = ranges[name], closeness
                if ranges[name] and rank >= best_rank:
                    best, best_rank = media_type, rank
                break
    return best


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Yield the media ranges of an `Accept` header in lower case, each with its quality, 0..1.

    Commas and semicolons separate even inside quotes: what that makes of a quoted parameter is no
    range of ours.
    """
    for element in accept.lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                quality = float(value) if QUALITY.fullmatch(value := value.strip()) else 0.0
        yield "*/*" if name == "*" else name, quality  # "*" alone is what old Java sends
