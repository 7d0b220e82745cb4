"""Output that comes in pieces, as text, and without holding others up."""

import asyncio

import pytest

from queuectl.dashboard.text import OutputText

KIB = 1024


async def shown(*pieces: bytes) -> list[str]:
    """Return what is shown of an output that comes in these pieces."""
    text = OutputText()
    found = [words for piece in pieces async for words in text.take(piece)]
    return [*found, text.rest()]


@pytest.mark.parametrize("cut", range(1, 16))
async def test_an_output_may_be_cut_anywhere(cut: int) -> None:
    output = "a€\x1b[1;31mb\r\nc".encode() + b"\xff\x00"

    assert "".join(await shown(output[:cut], output[cut:])) == "a€b\nc\\xff\\x00"


async def test_what_no_more_comes_of_is_shown_as_it_is() -> None:
    assert "".join(await shown(b"a\x1b[1;")) == "a\\x1b[1;"


@pytest.mark.parametrize("byte", [b"\0", b"\x1b", b"\xff", b"x"])
async def test_others_have_their_turn_while_much_is_made_readable(byte: bytes) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns

        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    found = await shown(byte * 256 * KIB)
    counting.cancel()

    assert "".join(found) == ("x" if byte == b"x" else f"\\x{byte[0]:02x}") * 256 * KIB
    assert max(map(len, found)) <= 4 * 16 * KIB
    assert turns >= 15
