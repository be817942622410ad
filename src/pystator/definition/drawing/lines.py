"""Text in lines of a bounded width: a picture is read at a glance."""

from textwrap import TextWrapper

__all__ = ["wrapped"]


def wrapped(text: str, width: int, most: int) -> list[str]:
    """The text in lines of at most so many characters; what does not fit ends in an ellipsis.

    What a terminal or a parser would act on - control characters - is a space here.
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    wrapper = TextWrapper(width, max_lines=most, placeholder=" …", break_on_hyphens=False)
    return wrapper.wrap(plain)
