"""Whether a client has what it asks for already: ``If-None-Match``."""

__all__ = ["is_known"]


def is_known(header: str | None, tag: str) -> bool:
    """A header names this tag, weak or strong, or any.

    Args:
        header: ``"a", W/"b"`` or ``*``; None where the request has none.
        tag: With its quotes.
    """
    if header is None:
        return False
    return any(each.strip().removeprefix("W/") in {tag, "*"} for each in header.split(","))
