"""Numbers as text: forms, addresses and the environment know no other."""

import re
from typing import Any


def read_number(value: Any) -> Any:
    """Turn text of digits into a number, as pydantic does not where a few numbers are allowed."""
    short = isinstance(value, str) and value.isdecimal() and len(value) < 10
    return int(value) if short else value


SUFFIXES = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
BYTES = re.compile(r"([0-9]{1,15})([kMG]|[KMG]i)?")


def read_bytes(value: Any) -> Any:
    """Turn text such as `900Mi` or `1G`, as Kubernetes writes it, into a number of bytes."""
    found = BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(found[1]) * SUFFIXES[found[2] or ""] if found else value
