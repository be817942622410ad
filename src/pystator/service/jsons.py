"""JSON as the standard has it: Python's own reader takes more, which no store can keep."""

import json
from typing import Any, Never

__all__ = ["parse"]


def _refuse(word: str) -> Never:
    raise ValueError(f"{word} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is not JSON, or holds NaN or Infinity, or is nested too deeply to be read.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
