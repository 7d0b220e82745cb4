"""Which characters deceive or do harm where text is shown, and how they are made visible."""

import re
from functools import cache
from typing import Final

# What can steer a terminal or deceive a reader: C0 but for line breaks and
# tabs, DEL, C1, marks that turn the direction of writing, separators of lines
# and paragraphs, what takes no room (but for the joiners, which some languages
# need); and lone surrogates, which cannot be written at all.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064"
    "\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNSAFE_IN_LINE: Final = re.compile(f"{_UNSAFE.pattern}|[\n\t]")
_SHORT: Final = {"\r": r"\r", "\n": r"\n", "\t": r"\t"}
_LAST_OF_TWO_DIGITS: Final = 0xFF
_LAST_OF_FOUR_DIGITS: Final = 0xFFFF


def escape_text(text: str) -> str:
    r"""
    Make visible what could steer a terminal or deceive a reader, as ``\x1b``.

    What jobs and people wrote may hold such characters. Line breaks and tabs stay. For
    HTML this is not enough, and a template has to escape the rest.
    """
    return _UNSAFE.sub(_visible_of, text)


def escape_line(text: str) -> str:
    r"""Make the same visible as `escape_text`, and line breaks and tabs, as ``\n`` and ``\t``."""
    return _UNSAFE_IN_LINE.sub(_visible_of, text)


def escape_json(text: str) -> str:
    r"""Write the characters of `escape_text` inside JSON as ``\u009b``, which means the same."""
    return _UNSAFE.sub(lambda found: _json_escape(found[0]), text)


def _visible_of(found: re.Match[str]) -> str:
    return _visible(found[0])


# There are 2,300 of them, and an output may be full of one.
@cache
def _visible(character: str) -> str:
    code = ord(character)

    if character in _SHORT:
        return _SHORT[character]

    if code <= _LAST_OF_TWO_DIGITS:
        return f"\\x{code:02x}"

    return f"\\u{code:04x}" if code <= _LAST_OF_FOUR_DIGITS else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
