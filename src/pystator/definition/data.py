"""What plain data is, told to the type checkers."""

from typing import Any, TypeGuard

__all__ = ["is_list", "is_map"]


def is_map(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a plain value is a mapping."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a plain value is a list."""
    return isinstance(value, list)
