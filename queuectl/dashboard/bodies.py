"""The body of a request: it has to come soon, and not to be too large."""

from typing import Final

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

# Bytes of a request's body. The largest job as JSON is smaller.
MOST: Final = 4 * 1024 * 1024

# Seconds in which all of it has to be there: whoever has the token could else hold
# connections for ever.
_PATIENCE: Final = 10.0

_KIB: Final = 1024


async def read_body(request: Request, *, most: int = MOST) -> bytes:
    """
    Return the body of a request.

    Args:
        request: Whose body nobody has read.
        most: How many bytes it may have.

    Raises:
        HTTPException: It is larger, does not come in time, or is broken off.
    """
    body = bytearray()

    try:
        with anyio.fail_after(_PATIENCE):
            async for piece in request.stream():
                body += piece

                if len(body) > most:
                    raise HTTPException(413, f"at most {most // _KIB} KiB can be sent at once")
    except TimeoutError:
        # What is left of it would be taken for the next request.
        close = {"connection": "close"}
        raise HTTPException(408, "the rest of the request did not come", close) from None
    except ClientDisconnect:
        # Nobody reads the answer, and nothing is wrong with us.
        raise HTTPException(400, "the request was broken off") from None

    return bytes(body)
