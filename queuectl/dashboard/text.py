"""Text from jobs, made fit to be read on a page."""

import re
from typing import Final

# What deceives a reader or shows nothing: control characters but for line breaks and
# tabs, marks that turn the direction of writing, separators of lines and paragraphs,
# what takes no room (but for the joiners, which some languages need), lone surrogates.
# The command line makes the same characters visible. HTML is escaped by the templates.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064"
    "\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNSEEN_IN_LINE: Final = re.compile(f"{_UNSEEN.pattern}|[\n\t]")
_SHORT: Final = {"\r": r"\r", "\n": r"\n", "\t": r"\t"}
_LAST_OF_TWO_DIGITS: Final = 0xFF

# Select Graphic Rendition (ECMA-48, 8.3.117): colours, which a page does not show.
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")


def readable(text: str) -> str:
    r"""Make visible what could deceive a reader, as ``\x1b``; lines and tabs stay."""
    return _UNSEEN.sub(_visible, text)


def readable_line(text: str, *, longest: int | None = None) -> str:
    """
    Make the same visible, and line breaks and tabs.

    Args:
        text: What a job or a person wrote.
        longest: Cut behind this many characters, with an ellipsis.
    """
    cut = longest is not None and len(text) > longest
    return _UNSEEN_IN_LINE.sub(_visible, text[:longest]) + ("…" if cut else "")


def readable_output(text: str) -> str:
    """Make output of a job readable: without its colours, the rest as `readable` does."""
    return readable(_COLOUR.sub("", text).replace("\r\n", "\n"))


def _visible(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)

    if character in _SHORT:
        return _SHORT[character]

    return f"\\x{code:02x}" if code <= _LAST_OF_TWO_DIGITS else f"\\u{code:04x}"
