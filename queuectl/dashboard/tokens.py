"""The token of a dashboard: kept beside the database, or in a file that was named."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from queuectl import QueueCtlError

_NAME: Final = "dashboard-token"
_READ_ONLY_NAME: Final = "dashboard-token-read-only"
_BYTES: Final = 32
_SHORTEST: Final = 16
_LARGEST_FILE: Final = 4096


class TokenError(QueueCtlError):
    """The file with the token cannot be used."""

    def __init__(self, path: Path, problem: str, *, hint: str | None = None) -> None:
        self.path = path
        self.hint = hint
        super().__init__(f"{problem}: {path}")


def kept_token(folder: Path, *, read_only: bool = False) -> str:
    """
    Return the token that is kept in a folder; where there is none, one is made. Blocking.

    It stays the same from one start to the next, so that a page that is open goes on
    when the server is there again.

    Args:
        folder: For its owner alone.
        read_only: The one of dashboards that change nothing: with the link of such a one
            nobody may change anything at another.

    Raises:
        TokenError: It cannot be read or written.
    """
    path = folder / (_READ_ONLY_NAME if read_only else _NAME)

    if not os.path.lexists(path):
        try:
            _make_token(path)
        except OSError as error:
            raise TokenError(path, f"cannot keep the token ({error.strerror})") from error

    return read_token(path)


def read_token(path: Path) -> str:
    """
    Return the token that is in a file: its first line. Blocking.

    Raises:
        TokenError: It cannot be read, others may read it, or it is too short.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise TokenError(path, f"cannot read the token ({error.strerror})") from error

    try:
        status = os.fstat(descriptor)

        if not stat.S_ISREG(status.st_mode):
            raise TokenError(path, "the token is not in a file")

        if status.st_mode & 0o077:
            raise TokenError(
                path, "others may read the token", hint=f"take it from them: chmod 600 {path}"
            )

        lines = os.read(descriptor, _LARGEST_FILE).splitlines()
    finally:
        os.close(descriptor)

    token = lines[0].decode(errors="replace").strip() if lines else ""

    if len(token) < _SHORTEST or not (token.isascii() and token.isprintable()):
        raise TokenError(
            path,
            f"a token has at least {_SHORTEST} characters, and no others than ASCII",
            hint=f"make one with: openssl rand -base64 32 > {path}",
        )

    return token


def _make_token(path: Path) -> None:
    """Write a new token, where nobody else has done so meanwhile."""
    # Under another name first, so that nobody reads the half of it.
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)

    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_urlsafe(_BYTES)}\n")

        # Whoever was first has made it for all.
        with suppress(FileExistsError):
            os.link(draft, path, follow_symlinks=False)
    finally:
        draft.unlink()
