"""Text from jobs, made fit to be read on a page."""

import asyncio
import codecs
import re
from collections.abc import AsyncGenerator
from typing import Final

from queuectl import escape_line, escape_text

# Select Graphic Rendition (ECMA-48, 8.3.117): colours, which a page does not show.
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")

# What may be the beginning of a colour, or of a line's end, that goes on in the next piece.
_UNFINISHED: Final = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,64})?|\r)\Z")

# Bytes of an output that are made readable at once: what is no text takes longest, some
# milliseconds for these.
_PIECE: Final = 16 * 1024


def readable_line(text: str, *, longest: int | None = None) -> str:
    """
    Make visible what could deceive a reader, and line breaks and tabs, in a text that may be long.

    Args:
        text: What a job or a person wrote.
        longest: Cut behind this many characters, with an ellipsis.
    """
    cut = longest is not None and len(text) > longest
    return escape_line(text[:longest]) + ("…" if cut else "")


def readable_output(text: str) -> str:
    """Make output of a job readable: without its colours, the rest as `escape_text` does."""
    return escape_text(_COLOUR.sub("", text).replace("\r\n", "\n"))


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
