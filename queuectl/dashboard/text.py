"""Text from jobs, made fit to be read on a page."""

import asyncio
import codecs
import re
from collections.abc import AsyncGenerator
from functools import cache
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

# What may be the beginning of a colour, or of a line's end, that goes on in the next piece.
_UNFINISHED: Final = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,64})?|\r)\Z")

# Bytes of an output that are made readable at once: what is no text takes longest, some
# milliseconds for these.
_PIECE: Final = 16 * 1024


def readable(text: str) -> str:
    r"""Make visible what could deceive a reader, as ``\x1b``; lines and tabs stay."""
    return _UNSEEN.sub(_found, text)


def readable_line(text: str, *, longest: int | None = None) -> str:
    """
    Make the same visible, and line breaks and tabs.

    Args:
        text: What a job or a person wrote.
        longest: Cut behind this many characters, with an ellipsis.
    """
    cut = longest is not None and len(text) > longest
    return _UNSEEN_IN_LINE.sub(_found, text[:longest]) + ("…" if cut else "")


def readable_output(text: str) -> str:
    """Make output of a job readable: without its colours, the rest as `readable` does."""
    return readable(_COLOUR.sub("", text).replace("\r\n", "\n"))


class OutputText:
    """Makes readable text of an output that comes in pieces, which may end inside anything."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._held = ""

    async def take(self, output: bytes) -> AsyncGenerator[str, None]:
        """Yield what can be shown now, a little at a time: others have their turn between."""
        for place in range(0, len(output), _PIECE):
            if words := self._take(output[place : place + _PIECE]):
                yield words

            await asyncio.sleep(0)

    def rest(self) -> str:
        """Return what is left when nothing more comes."""
        return readable_output(self._held + self._decoder.decode(b"", final=True))

    def _take(self, piece: bytes) -> str:
        text = self._held + self._decoder.decode(piece)
        unfinished = _UNFINISHED.search(text)
        whole = text if unfinished is None else text[: unfinished.start()]
        self._held = text[len(whole) :]
        return readable_output(whole)


def _found(found: re.Match[str]) -> str:
    return _visible(found[0])


# There are 2,300 of them, and an output may be full of one.
@cache
def _visible(character: str) -> str:
    code = ord(character)

    if character in _SHORT:
        return _SHORT[character]

    return f"\\x{code:02x}" if code <= _LAST_OF_TWO_DIGITS else f"\\u{code:04x}"
