"""Processes as the system lists them; only on Linux, elsewhere nothing is listed."""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import msgspec

_STATE, _GROUP, _SESSION, _STARTED = 0, 2, 3, 19
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")

# What can be met while a process ends, or where it is another user's.
_GONE_OR_HIDDEN: Final = (FileNotFoundError, ProcessLookupError, PermissionError)

# What is said of an open file that was closed, or whose file system is gone or another's.
_NO_FILE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.ENOTCONN, errno.ESTALE, errno.EACCES})


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """
    A process.

    Attributes:
        pid: Its number, which may be used again once it is gone.
        group: Its process group.
        session: Its session.
        started: When it started, in ticks since the machine did; tells it from
            another of its number.
    """

    pid: int
    group: int
    session: int
    started: int

    @property
    def started_seconds(self) -> float:
        """When it started, in seconds since the machine did."""
        return self.started / _TICKS_A_SECOND


def can_list() -> bool:
    """
    Whether the system says what processes there are, and what belongs to them.

    In a process namespace of its own that has the /proc of another one, the
    numbers there are others'.

    Raises:
        OSError: It does not say just now; that is no sign that it never does.
    """
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False


def processes() -> Iterator[Process]:
    """Yield every process that is not a zombie. Blocking: some ten microseconds for each."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := find_process(int(name))):
            yield found


def find_process(pid: int, *, or_zombie: bool = False) -> Process | None:
    """
    Return a process, None where there is none.

    Args:
        pid: Its number.
        or_zombie: Whether one counts that has ended, and that nobody has waited for.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # After the name, which may hold anything.
            fields = file.read().rpartition(b") ")[2].split()
    except _GONE_OR_HIDDEN:
        return None

    if fields[_STATE] in {b"Z", b"X"} and not or_zombie:
        return None

    return Process(
        pid=pid,
        group=int(fields[_GROUP]),
        session=int(fields[_SESSION]),
        started=int(fields[_STARTED]),
    )


def first_environ(pid: int) -> bytes:
    """Return the environment that a process began with; empty where it is hidden."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"\0" + file.read()
    except _GONE_OR_HIDDEN:
        return b""


def command_line(pid: int) -> bytes:
    """Return what a process was started with, each part ended by a zero; empty where hidden."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except _GONE_OR_HIDDEN:
        return b""


def was_given(pid: int, files: set[tuple[int, int]]) -> bool:
    """
    Whether a process has one of these files as it was given to a run, with its lock.

    Not as who only reads it, and not as one that is closed when the process
    becomes another program: so an engine has the files of its runs, and with it
    what it is about to start for others.

    Args:
        pid: The process.
        files: By device and inode.
    """
    try:
        found = list(open_files(pid, {inode for _, inode in files}))
    except _GONE_OR_HIDDEN:
        return False

    return any(o.identity in files and o.has_lock and not o.flags & os.O_CLOEXEC for o in found)


class OpenFile(msgspec.Struct, frozen=True, kw_only=True):
    """
    A file that a process has open.

    Attributes:
        path: What leads to it as long as that is so; a link.
        identity: Its device and inode.
        flags: How it was opened, as ``os.O_CLOEXEC``.
        has_lock: Whether it was locked through this descriptor, or one that it is a
            copy of.
    """

    path: str
    identity: tuple[int, int]
    flags: int
    has_lock: bool


def open_files(pid: int, inodes: set[int]) -> Iterator[OpenFile]:
    """
    Yield what a process has open of the files of these numbers.

    Of the others the kernel is asked, and not their file system: one that is gone
    answers with errors, or not at all, and any process may have something open there.

    Args:
        pid: The process.
        inodes: By their inodes.

    Raises:
        FileNotFoundError: It is gone.
        PermissionError: That is hidden.
    """
    folder = f"/proc/{pid}/fd"

    for name in os.listdir(folder):
        path = f"{folder}/{name}"

        try:
            # Sockets, pipes and the like have names that are no paths.
            known = _read_fdinfo(pid, name) if os.readlink(path).startswith("/") else None
        except (FileNotFoundError, ProcessLookupError):
            continue

        # Before Linux 5.14 the kernel does not say the inode.
        if known is None or (b"ino" in known and int(known[b"ino"]) not in inodes):
            continue

        identity = _identity(path)

        if identity is not None:
            flags = int(known[b"flags"], 8)
            yield OpenFile(path=path, identity=identity, flags=flags, has_lock=b"lock" in known)


def _identity(path: str) -> tuple[int, int] | None:
    """Return device and inode; None where there is no file, or no file system to ask."""
    try:
        found = os.stat(path)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise

    return found.st_dev, found.st_ino


def _read_fdinfo(pid: int, descriptor: str) -> dict[bytes, bytes]:
    """
    Return what the kernel says of a descriptor, by its names for that.

    https://man7.org/linux/man-pages/man5/proc_pid_fdinfo.5.html
    """
    with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as file:
        parts = (line.partition(b":") for line in file)
        return {name: value.strip() for name, _, value in parts}


def send(process: Process, number: signal.Signals) -> bool:
    """
    Signal a process, and no other that has its number by now.

    Returns:
        False where it may not be signalled.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    except (AttributeError, OSError):
        # No such system, refused as by a container's rules, or no descriptor left:
        # then its number has to do, right after the look whose it is.
        return _send_by(partial(os.kill, process.pid), process, number)

    try:
        return _send_by(partial(_send_through, descriptor, process.pid), process, number)
    finally:
        os.close(descriptor)


def _send_through(descriptor: int, pid: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        raise
    except OSError:
        # Refused by the same rules; who may not signal it at all hears that again.
        os.kill(pid, number)


def _send_by(
    way: Callable[[signal.Signals], None], process: Process, number: signal.Signals
) -> bool:
    now = find_process(process.pid)

    if now is None or now.started != process.started:
        return True

    try:
        way(number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False

    return True


def signal_group(group: int, number: int) -> bool:
    """
    Signal a process group.

    Args:
        group: Its number.
        number: The signal, 0 for none.

    Returns:
        Whether anybody is in it; where nobody there may be signalled, too.
    """
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS says so of a group of which only zombies are left; Linux of one
        # whose every member has changed its user.
        return sys.platform != "darwin"

    return True


def has_group(group: int) -> bool:
    """Whether there is a process group of this number, whose ever it is."""
    return signal_group(group, 0)


def uptime() -> float:
    """Return the seconds since the machine started, as the times of processes are given."""
    # Elsewhere there are no such times that it could be compared with.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else 0.0
