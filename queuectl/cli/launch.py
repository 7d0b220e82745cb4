"""
Worker processes: the only place of the command line that starts any.

A worker process is this program again, as ``worker start --json``. The line of
JSON that it prints when it is registered is how its starter knows that it is
there.
"""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import msgspec

from queuectl import WorkerRecord
from queuectl.cli.errors import CommandError, ExitCode
from queuectl.cli.signals import stop_signals

_SHOWN_LOG_LINES: Final = 20

# What tells a successor that it is one: the number of its process.
_SUCCESSION: Final = "QUEUECTL_SUCCESSION"

# Seconds in which a worker takes its first look, and ends where it cannot work at all.
_FIRST_LOOK: Final = 0.25


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """
    How worker processes are to be started.

    Attributes:
        database: The file, absolute.
        processes: How many.
        count: The slots of each.
        drain: Whether they end when the queue is settled.
        quiet: Whether they tell of troubles only.
        debug: Whether they tell of everything.
        metrics: The options by which the first of them serves the metrics, which are
            those of the whole database.
    """

    database: Path
    processes: int
    count: int
    drain: bool
    quiet: bool
    debug: bool
    metrics: tuple[str, ...] = ()


class Detached(WorkerRecord, frozen=True, kw_only=True):
    """A worker that goes on by itself, and the file that it writes its log to."""

    log_file: str


def detach(launch: Launch, log_folder: Path) -> Iterator[Detached | None]:
    """
    Start workers that outlive this program and its terminal; yield each when it is there.

    A worker that found nothing to drain has ended with success: None.

    Raises:
        CommandError: One ended before it was there, or failed right after; the error
            shows the end of its log, and has its exit code.
    """
    for one in _each(launch):
        yield _detach_one(one, log_folder)


def supervise(launch: Launch, ready: Callable[[WorkerRecord], None]) -> int:
    """
    Start workers and stay with them; hand on the signals that ask them to stop.

    Args:
        launch: How.
        ready: Called with each worker when it is there.

    Returns:
        The worst of their exit codes.
    """
    children: list[subprocess.Popen[bytes]] = []

    with _handing_on_signals(children) as signals:
        for one in _each(launch):
            if signals:
                break

            children.append(_start(one))

        for child in children:
            record = _first_words(child)

            if record is not None:
                ready(record)

        codes = [child.wait() for child in children]

    return max((_shell_code(code) for code in codes), default=0)


def replace_process() -> NoReturn:
    """
    Start this program again in its own process, with the arguments that it got.

    Processes that it has started stay its children.
    """
    os.environ[_SUCCESSION] = str(os.getpid())

    try:
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        raise CommandError(
            f"cannot start anew: {error.strerror}: {sys.executable}",
            hint="start a worker: it adopts what runs",
        ) from error


def is_successor() -> bool:
    """Whether this program began in the process of a worker that made room for it."""
    # Whatever process inherits that, is another.
    return os.environ.get(_SUCCESSION) == str(os.getpid())


def _each(launch: Launch) -> Iterator[Launch]:
    """Yield how each of the processes is to be started."""
    yield launch

    for _ in range(1, launch.processes):
        yield msgspec.structs.replace(launch, metrics=())


def _detach_one(launch: Launch, log_folder: Path) -> Detached | None:
    log_file = log_folder / f"starting-{secrets.token_hex(8)}.log"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    log = os.open(log_file, flags, 0o600)

    try:
        child = _start(launch, log=log)
    finally:
        os.close(log)

    try:
        record = _first_words(child)
    except BaseException:
        child.terminate()
        raise

    if record is None:
        if code := child.wait():
            raise _early_end("the worker ended before it was ready", code, log_file)

        log_file.unlink()
        return None

    named = _rename(log_file, log_folder / f"{record.id}.log")

    if code := _code_of_first_look(child):
        raise _early_end(f"worker {record.id} ended at its first look", code, named)

    # It lives on; Popen would warn that nobody waited for it.
    child.returncode = 0
    return Detached(**msgspec.structs.asdict(record), log_file=str(named))


def _rename(log_file: Path, target: Path) -> Path:
    """Name a log after its worker; what was put in the way does not stop the worker."""
    try:
        return log_file.rename(target)
    except OSError:
        return log_file


def _start(launch: Launch, *, log: int | None = None) -> subprocess.Popen[bytes]:
    """Start a worker process: in a session of its own with a log, else in a group of its own."""
    return subprocess.Popen(
        _command_line(launch),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        env=_environ(),
        start_new_session=log is not None,
        # A terminal sends Ctrl-C to its whole foreground group: the worker
        # would get it from there and from us, and take it for the second.
        process_group=None if log is not None else 0,
    )


def _command_line(launch: Launch) -> list[str]:
    switches = {
        "--debug": launch.debug,
        "worker": True,
        "start": True,
        "--json": True,
        "--drain": launch.drain,
        "--quiet": launch.quiet,
    }

    return [
        sys.executable,
        # What ends it without a word, such as a fault in a library, is in its log.
        "-Xfaulthandler",
        *_path_switch(),
        "-m",
        "queuectl",
        f"--db={launch.database}",
        *(switch for switch, is_on in switches.items() if is_on),
        f"--count={launch.count}",
        *launch.metrics,
    ]


def _environ() -> dict[str, str]:
    """
    Return the environment without what is queuectl's own, as a worker gives it to its jobs.

    A worker that a job starts is no part of that job's run, and is to outlive it.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}


def _path_switch() -> list[str]:
    """
    Keep Python from importing what lies in the current folder, such as a ``queue.py``.

    Where the package itself lies there, it has to look.
    """
    try:
        is_here = Path(__file__).parents[2] == Path.cwd()
    except FileNotFoundError:
        # The folder was deleted.
        is_here = False

    return [] if is_here else ["-P"]


def _first_words(child: subprocess.Popen[bytes]) -> WorkerRecord | None:
    """Return what a worker says when it is there, None where it ended without a word."""
    if child.stdout is None:
        return None

    with child.stdout as words:
        line = words.readline()

    return msgspec.json.decode(line, type=WorkerRecord) if line else None


def _code_of_first_look(child: subprocess.Popen[bytes]) -> int:
    """Return the exit code of a worker that has ended by then, 0 of one that works."""
    try:
        return child.wait(_FIRST_LOOK)
    except subprocess.TimeoutExpired:
        return 0


def _early_end(problem: str, code: int, log_file: Path) -> CommandError:
    """Return the error of a worker that ended too early, with what it said."""
    lines = log_file.read_text(errors="backslashreplace").splitlines()
    end = "".join(f"\n  {line}" for line in lines[-_SHOWN_LOG_LINES:])
    return CommandError(
        f"{problem}; its log ends:{end}",
        exit_code=ExitCode(code) if code in set(ExitCode) else ExitCode.FAILURE,
        hint=f"see {log_file}",
    )


@contextmanager
def _handing_on_signals(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Pass signals to the children inside the context; yield those that came."""
    came: list[int] = []

    def hand_on(number: int, _: FrameType | None) -> None:
        came.append(number)

        for child in children:
            # Does nothing to one that was waited for.
            child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in stop_signals()}

    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _shell_code(code: int) -> int:
    """Return an exit code as a shell says it: 128 and the signal, where one ended it."""
    return 128 - code if code < 0 else code
