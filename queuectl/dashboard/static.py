"""The files that pages need: read when this is imported, and served from memory."""

import hashlib
from pathlib import Path
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_FOLDER: Final = Path(__file__).with_name("static")

# By the end of the name. Not asked of the system, whose table is a file, may be read
# while requests wait, and on some machines says that a script is plain text: nosniff
# keeps a browser from running it then.
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _File(msgspec.Struct, frozen=True):
    """
    A file as it is sent.

    Attributes:
        body: What is in it.
        kind: Its media type.
        tag: Changes with what is in it.
    """

    body: bytes
    kind: str
    tag: str


def _read(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, _TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


_FILES: Final = {path.name: _read(path) for path in sorted(_FOLDER.iterdir())}


async def static_file(request: Request) -> Response:
    """
    Answer with a file; a browser that has it already is told so.

    Raises:
        HTTPException: There is no such file.
    """
    file = _FILES.get(request.path_params["path"])

    if file is None:
        raise HTTPException(404)

    headers = {"etag": file.tag, "content-type": file.kind}

    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)

    return Response(file.body, headers=headers)
