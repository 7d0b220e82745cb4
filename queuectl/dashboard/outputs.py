"""
The output of a run as an answer: piece by piece.

It may be larger than the memory. And what is not UTF-8 takes long to decode, which holds
everything else up, in a thread too: so it is done a little at a time.
"""

import asyncio
import codecs
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, cast

from starlette.responses import Response, StreamingResponse

from queuectl import JobState, QueueEngine

# Bytes from the end that are given where the whole is not asked for, or not to be had.
MOST_AT_ONCE: Final = 16 * 1024 * 1024

_PIECE: Final = 32 * 1024

# Whatever it is: a browser must not take it for anything else, and not show what is raw.
_TEXT: Final = "text/plain; charset=utf-8"
_RAW: Final = "application/octet-stream"
_KEPT: Final = {"content-disposition": "attachment"}


async def output_answer(
    engine: QueueEngine,
    job_id: str,
    *,
    attempt: int | None,
    last: int | None,
    has_body: bool,
    is_raw: bool = False,
) -> Response:
    """
    Return the answer that holds what a run wrote: all of it where it has ended, else its end.

    Args:
        engine: Open, as long as the answer is sent.
        job_id: The job.
        attempt: The number of the run, None for the latest.
        last: Only so many bytes from its end.
        has_body: Whether more is asked for than the headers.
        is_raw: Whether as it was written, and not as text.

    Raises:
        JobNotFoundError: There is no such job.
        RunNotFoundError: It has no such run.
        OutputMissingError: The output is a file, and that is gone.
    """
    pieces = _pieces(_source(engine, job_id, attempt, last))
    # What is wrong is told as such, so it has to be found before anything is sent.
    first = await anext(pieces, b"")

    if not has_body:
        await pieces.aclose()

    if is_raw:
        return StreamingResponse(_whole(first, pieces), media_type=_RAW, headers=_KEPT)

    return StreamingResponse(_text(first, pieces), media_type=_TEXT)


async def _source(
    engine: QueueEngine, job_id: str, attempt: int | None, last: int | None
) -> AsyncGenerator[bytes, None]:
    job = await engine.get(job_id)
    number = job.run_count if attempt is None else attempt
    is_latest = number == job.run_count
    has_ended = number < job.run_count or (is_latest and job.state is not JobState.PROCESSING)

    # One that goes on would be followed to its end.
    if last is None and has_ended and number > 0:
        chunks = cast("AsyncGenerator[bytes, None]", engine.follow(job.id, attempt=number))

        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
    else:
        yield await engine.output_bytes(job.id, attempt=attempt, last=last or MOST_AT_ONCE)


async def _pieces(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            for place in range(0, len(chunk), _PIECE):
                yield chunk[place : place + _PIECE]
                # It is sent without a wait as long as there is room for it.
                await asyncio.sleep(0)


async def _whole(first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first

    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


async def _text(first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    # A character may be cut in two between one piece and the next.
    decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
    yield decoder.decode(first).encode()

    async with aclosing(pieces):
        async for piece in pieces:
            yield decoder.decode(piece).encode()

    yield decoder.decode(b"", final=True).encode()
