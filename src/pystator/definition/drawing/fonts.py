"""How wide a text is, before there is a screen.

The widths are those of Verdana and DejaVu Sans, the widest sans-serif faces in use: with any other
face a text is narrower than the room that was kept for it, so nothing ever overlaps.
"""

from unicodedata import combining, east_asian_width

__all__ = ["width_of"]

NARROW = {
    **dict.fromkeys("ijl", 0.29),
    **dict.fromkeys("'|", 0.36),
    **dict.fromkeys(" I.,:;/\\!", 0.36),
    **dict.fromkeys("()[]ft-r", 0.42),
    **dict.fromkeys('"*_?czskvxyJ', 0.54),
    **dict.fromkeys("mwMW%@", 0.98),
    **dict.fromkeys("+=<>~^#&GOQNHU", 0.82),
}
"""By letter, in parts of the font's size; 0.64 for any other."""

BOLD = 1.12


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a line in this size; wide letters (CJK, emoji) take more, marks take nothing."""
    parts = sum(_part(letter) for letter in text)
    return parts * size * (BOLD if bold else 1.0)


def _part(letter: str) -> float:
    if letter in NARROW:
        return NARROW[letter]
    if letter < "\x7f":
        return 0.64
    if combining(letter):
        return 0.0
    return 1.3 if east_asian_width(letter) in "WF" else 0.85
