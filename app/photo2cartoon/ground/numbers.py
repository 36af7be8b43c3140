"""Numbers as text: forms, addresses and the environment know no other."""

from typing import Any


def read_number(value: Any) -> Any:
    """Turn text of digits into a number, as pydantic does not where a few numbers are allowed."""
    short = isinstance(value, str) and value.isdecimal() and len(value) < 10
    return int(value) if short else value
