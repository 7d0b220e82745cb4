"""
Hints that something changed, in this process and across processes.

A hint carries no state: who hears one looks into the database. A lost hint
costs time, never a job. Each listening process has a named pipe in the
database's folder, and whoever commits writes a byte into all of them.
"""

import asyncio
import errno
import fcntl
import logging
import os
import stat
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from queuectl.engine.runtime.clock import until
from queuectl.engine.store.base import Change

_log = logging.getLogger(__name__)

# Tells nobody anything, and has to be read all the same.
_NOTHING: Final = bytes(1)

# Seconds between two looks whether it was.
_LOOKS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)

_KNOWN: Final = (Change.STATE | Change.WORK | Change.ORDERS | Change.WEBHOOKS).value


class Bus:
    """
    Tells and hears of changes.

    Args:
        folder: Where the pipes of this database's listeners are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pipe: Path | None = None
        self._reader = -1
        self._keeper = -1
        self._listeners: list[Callable[[Change], None]] = []

    def listen(self) -> str:
        """
        Begin to hear of other processes' changes; asking twice is the same.

        Returns:
            The name of the pipe, for `is_read`.
        """
        if self._pipe is not None:
            return self._pipe.name

        # Made under another name first: a pipe that has its name has a reader.
        token = os.urandom(8).hex()
        draft, pipe = self._folder / f".{token}", self._folder / token
        os.mkfifo(draft, 0o600)
        reader = keeper = -1

        try:
            reader = os.open(draft, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            # A writer of our own: else the pipe reads as ended when nobody writes.
            keeper = os.open(draft, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            draft.rename(pipe)
            asyncio.get_running_loop().add_reader(reader, self._hear)
        except OSError:
            for descriptor in (reader, keeper):
                if descriptor >= 0:
                    os.close(descriptor)

            draft.unlink(missing_ok=True)
            pipe.unlink(missing_ok=True)
            raise

        self._pipe, self._reader, self._keeper = pipe, reader, keeper
        return pipe.name

    def close(self) -> None:
        """Stop listening, and wake everyone who waits."""
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._reader)
            _remove(self._pipe, logging.WARNING)
            os.close(self._reader)
            os.close(self._keeper)
            self._pipe = None

        self.wake_listeners()

    def wake_listeners(self) -> None:
        """Make everyone who waits in this process look again."""
        self._pass_on(Change.STATE)

    def tell(self, change: Change) -> None:
        """Pass a change on to everyone who listens, here and elsewhere."""
        self._pass_on(change)
        word = bytes([change.value])

        for name in _names(self._folder):
            path = self._folder / name

            if path != self._pipe:
                _write(path, word)

    async def is_read(self, name: str, seconds: float) -> bool:
        """
        Whether whoever listens at a pipe reads what is written into it.

        One that is stopped, or whose loop is blocked, does not. Nothing is
        written to the disk for this.

        Args:
            name: As `listen` returned it.
            seconds: To wait for that at the most.
        """
        path = self._folder / name

        if path == self._pipe or not _write(path, _NOTHING):
            return True

        async def is_empty() -> bool:
            return not _has_unread(path)

        return await until(is_empty, seconds, _LOOKS)

    @contextmanager
    def listening(self, listener: Callable[[Change], None]) -> Iterator[None]:
        """Call the listener on the loop at every change, inside the context."""
        self.listen()
        self._listeners.append(listener)

        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _hear(self) -> None:
        try:
            words = os.read(self._reader, 65_536)
        except BlockingIOError:
            return

        bits = 0

        for word in set(words):
            bits |= word

        # A newer queuectl may know more kinds.
        self._pass_on(Change(bits & _KNOWN))

    def _pass_on(self, change: Change) -> None:
        for listener in list(self._listeners):
            listener(change)


class Changes:
    """
    A place in the stream of changes, for who looks, waits and looks again.

    Used as a context; a change that comes between a look and a wait is not lost.
    """

    def __init__(self, bus: Bus) -> None:
        self._listening = bus.listening(lambda _: self._arrived.set())
        self._arrived = asyncio.Event()

    def __enter__(self) -> Self:
        self._listening.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._listening.__exit__(None, None, None)

    async def next(self, seconds: float) -> None:
        """Return at the next change since the last call, or after this long."""
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return

        self._arrived.clear()


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError as error:
        # A hint is not worth more than a word; without descriptors there is none.
        _log.debug("cannot tell of a change: %s", error)
        return []


def _remove(path: Path, level: int) -> None:
    """Remove a pipe that nobody listens at; where the system refuses, say so in the log."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.log(level, "cannot remove a wake-up pipe: %s", error)


def _has_unread(path: Path) -> bool:
    """Whether there is something in a pipe; to look at it takes nothing out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        # Its listener has gone, and it with it.
        return False

    try:
        (unread,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    finally:
        os.close(descriptor)

    return bool(unread)


def _write(path: Path, word: bytes) -> bool:
    """Write into a pipe; return whether somebody has it open."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        # ENXIO: it has no reader, for its process died without cleaning up.
        if error.errno == errno.ENXIO:
            # Whoever has committed meets it again and again.
            _remove(path, logging.DEBUG)

        return False

    try:
        # A file that was put there is nobody's ear.
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.write(descriptor, word)
    except (BlockingIOError, BrokenPipeError):
        # Full: it has hints enough. Broken: it left between the two calls.
        pass
    finally:
        os.close(descriptor)

    return True
