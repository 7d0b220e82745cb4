"""Counts the steps of an engine in this process, and kills it at one of them."""

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FrameType
from typing import Any, Final, Never

import msgspec

_ENGINE: Final = f"{os.sep}queuectl{os.sep}engine{os.sep}"
# Values and decisions: nothing outside the process can tell where one of them stands.
_PURE: Final = f"{_ENGINE}domain{os.sep}"

# System calls, locks and SQL: between two of these the world outside does not change.
_EFFECTS: Final = frozenset({"posix", "fcntl", "_posixsubprocess", "sqlite3"})

# Of those, what only looks: a crash before it is a crash after it.
_LOOKS: Final = frozenset(
    {
        "cursor",
        "fetchall",
        "fetchone",
        "fspath",
        "fstat",
        "fstatvfs",
        "get_inheritable",
        "getcwd",
        "geteuid",
        "getpid",
        "is_dir",
        "is_file",
        "is_symlink",
        "listdir",
        "lstat",
        "pread",
        "read",
        "readlink",
        "scandir",
        "stat",
        "statvfs",
        "strerror",
        "urandom",
        "waitstatus_to_exitcode",
    }
)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a process said as it was killed, or at its end.

    Attributes:
        count: How many steps it made.
        place: Where it was killed; None where it came to its end.
        effects: Which calls reached outside the process, as ``fcntl.flock``.
    """

    count: int
    place: str | None
    effects: list[str] = []


class CrashPoints:
    """
    The steps of this process, from `start` on, in every thread that starts later.

    A step is the beginning or the end of a call that reaches outside the
    process, whoever makes it, or the entry of a function of the engine: once
    between two such calls, so that a loop that only looks is no long way.

    Args:
        kill_at: The number of the step to be killed at; 0 for none.
        kill_in: Be killed at the first step whose place has these words.
        tell: Called with what there is to say, last of all.
    """

    def __init__(
        self, *, kill_at: int = 0, kill_in: str | None = None, tell: Callable[[bytes], object]
    ) -> None:
        self._kill_at = kill_at
        self._kill_in = kill_in
        self._tell = tell
        # One operation of C, so that two threads never get the same number.
        self._next: Callable[[], int] = itertools.count(1).__next__
        self._last = 0
        self._is_counting = False
        self._entries: dict[CodeType, str | None] = {}
        self._effects: set[str] = set()
        self._entered: set[CodeType] = set()

    def install(self) -> None:
        """Watch this thread, and those that it starts."""
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def start(self) -> None:
        """Count from here."""
        self._is_counting = True

    def finish(self) -> None:
        """Say that the end was reached."""
        self._is_counting = False
        sys.setprofile(None)
        self._say(None)

    def _see(self, frame: FrameType, kind: str, what: object) -> None:
        if not self._is_counting:
            return

        place = self._place(frame, kind, what)

        if place is not None:
            self._last = self._next()

            if self._last == self._kill_at or (self._kill_in and self._kill_in in place):
                self._die(place)

    def _place(self, frame: FrameType, kind: str, what: Any) -> str | None:
        """Name a step, None where it is none."""
        code = frame.f_code

        if kind == "call":
            return self._enter(code)

        if kind == "return":
            return None

        name = _effect(what)

        if name is None:
            return None

        self._effects.add(name)
        self._entered.clear()
        when = "before" if kind == "c_call" else "after"
        return f"{when} {name} in {_short(code.co_filename)}:{frame.f_lineno} {code.co_qualname}"

    def _enter(self, code: CodeType) -> str | None:
        if code not in self._entries:
            self._entries[code] = _entry(code)

        if code in self._entered:
            return None

        self._entered.add(code)
        return self._entries[code]

    def _die(self, place: str) -> Never:
        self._is_counting = False
        self._say(place)

        while True:
            os.kill(os.getpid(), signal.SIGKILL)

    def _say(self, place: str | None) -> None:
        ending = Ending(count=self._last, place=place, effects=sorted(self._effects))
        self._tell(msgspec.json.encode(ending))


def _entry(code: CodeType) -> str | None:
    """Name the entry of a function, None where it is not the engine's."""
    file = code.co_filename

    if _ENGINE not in file or _PURE in file:
        return None

    return f"{_short(file)}:{code.co_firstlineno} {code.co_qualname}"


def _effect(function: BuiltinFunctionType) -> str | None:
    """Name a call that reaches outside the process, None where it is none."""
    name = function.__name__
    owner = getattr(function, "__self__", None)
    module = function.__module__ or type(owner).__module__

    if module not in _EFFECTS or name in _LOOKS or name.startswith("W"):
        return None

    return f"{module.lstrip('_')}.{name}"


def _short(file: str) -> str:
    """Name a file from the engine's folder, or from its own."""
    _, is_ours, rest = file.rpartition(_ENGINE)
    return rest if is_ours else "/".join(Path(file).parts[-2:])
