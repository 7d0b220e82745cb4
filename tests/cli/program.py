"""The program as tests drive it: inside this process, as a process, and at a terminal."""

# ruff: noqa: TID251 (whoever uses a command line starts processes)

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

import queuectl
from queuectl.cli import program
from tests.waiting import PATIENCE

ESCAPE: Final = "\x1b"
_LONG: Final = 25.0
_HOME_OF_PACKAGE: Final = Path(queuectl.__file__).parents[1]
_SGR: Final = re.compile(r"\x1b\[[0-9;]*m")

Running = subprocess.Popen[bytes]


class Result(NamedTuple):
    """What a command did: its exit code, its standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The standard output, read as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error that ``--json`` writes to the standard error, which is one line."""
        [line] = self.err.splitlines()
        error: dict[str, Any] = json.loads(line)["error"]
        assert error["code"] == self.code
        return error


class Queuectl:
    """
    Runs commands of the program in this process, on one database.

    What they write is kept apart by pytest, which is no terminal.
    """

    def __init__(
        self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch, database: Path
    ) -> None:
        self.database = database
        self._capsys = capsys
        self._patch = patch

    def __call__(self, *arguments: str, stdin: str | bytes = b"") -> Result:
        """Run a command to its end."""
        return self.bare("--db", str(self.database), *arguments, stdin=stdin)

    def bare(self, *arguments: str, stdin: str | bytes = b"") -> Result:
        """Run a command that was not told which database."""
        content = stdin.encode() if isinstance(stdin, str) else stdin
        self._capsys.readouterr()

        with self._patch.context() as patch:
            patch.setattr(sys, "stdin", TextIOWrapper(BytesIO(content), encoding="utf-8"))
            code = program.execute(list(arguments))

        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err or "--debug" in arguments
        return Result(int(code), out, err)

    def ok(self, *arguments: str, stdin: str | bytes = b"") -> Result:
        """Run a command that has to succeed."""
        result = self(*arguments, stdin=stdin)
        assert result.code == 0, result.err
        return result

    def json(self, *arguments: str, stdin: str | bytes = b"") -> Any:
        """Run a command that has to succeed with ``--json``, and return what it prints."""
        return self.ok(*with_json(arguments), stdin=stdin).json

    def error(self, *arguments: str, stdin: str | bytes = b"") -> Result:
        """
        Run a command that has to fail, with and without ``--json``.

        Both have to say the same, on the standard error alone; returns the one
        without.
        """
        result = self(*arguments, stdin=stdin)
        problem = self(*with_json(arguments), stdin=stdin)
        error = problem.error

        assert result.code == problem.code != 0
        assert result.out == ""
        assert problem.out == ""
        hint = f"\nhint: {error['hint']}" if error["hint"] else ""
        assert result.err == f"error: {error['message']}{hint}\n"
        return result


def with_json(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Add ``--json`` where it is an option: before a ``--``."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return (*arguments[:place], "--json", *arguments[place:])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a process of the program."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {"NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "CLICOLOR_FORCE"}
    }

    return {
        **inherited,
        "PYTHONPATH": str(_HOME_OF_PACKAGE),
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        **(extra or {}),
    }


def words(*arguments: str) -> list[str]:
    """Return the command line of a process of the program."""
    return [sys.executable, "-m", "queuectl", *arguments]


def run_process(
    *arguments: str,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Result:
    """Run the program as a process, to its end."""
    return run_words(words(*arguments), stdin=stdin, env=env, cwd=cwd)


def run_words(
    command: list[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Result:
    """Run any process to its end."""
    done = subprocess.run(
        command,
        input=b"" if stdin is None else stdin,
        capture_output=True,
        env=environment(env),
        cwd=cwd,
        timeout=_LONG,
        check=False,
    )
    out = done.stdout.decode(errors="surrogateescape")
    err = done.stderr.decode(errors="surrogateescape")
    assert "Traceback" not in err
    return Result(done.returncode, out, err)


def run_shell(script: str, **variables: str) -> Result:
    """Run a script of the shell, in which ``$Q`` is the program."""
    return run_words(
        ["/bin/sh", "-c", script],
        env={"Q": " ".join(words()), **variables},
    )


@contextmanager
def started_process(*arguments: str, stdin: bytes | None = None) -> Iterator[Running]:
    """Start the program as a process; it is ended after the context, where it has not ended."""
    with subprocess.Popen(
        words(*arguments),
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        try:
            if stdin is not None:
                assert process.stdin is not None
                process.stdin.write(stdin)
                process.stdin.close()
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def next_line(process: Running, stream: str = "stdout") -> str:
    """Return the next line of a process's output."""
    pipe = process.stdout if stream == "stdout" else process.stderr
    assert pipe is not None
    return pipe.readline().decode()


def finish(process: Running) -> Result:
    """Wait for the end of a process, and return the rest of what it wrote."""
    process.stdin = None
    out, err = process.communicate(timeout=PATIENCE)
    return Result(process.returncode, out.decode(), err.decode())


class Terminal:
    """A terminal, and a process that has it as its controlling one."""

    def __init__(self, process: Running, master: int) -> None:
        self.shown = ""
        self._process = process
        self._master = master

    def type(self, text: str) -> None:
        """Type at the keyboard."""
        os.write(self._master, text.encode())

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def be_wide(self, columns: int) -> None:
        """Give the window another width."""
        _set_width(self._master, columns)

    def read_until(self, text: str) -> str:
        """Return what is on the screen as soon as a text is among it."""
        deadline = time.monotonic() + PATIENCE

        while text not in self.shown:
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"{text!r} is not in {self.shown!r}")

        return self.shown

    def finish(self) -> Result:
        """Return the exit code and all that was shown, when the process has ended."""
        while self._read():
            pass

        return Result(self._process.wait(PATIENCE), self.shown.replace("\r\n", "\n"), "")

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE)

        if not ready:
            raise AssertionError(f"nothing more came after {self.shown!r}")

        try:
            piece = os.read(self._master, 65536)
        except OSError:
            return False

        self.shown += piece.decode(errors="replace")
        return bool(piece)


@contextmanager
def terminal(
    *arguments: str, columns: int = 80, env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Start the program at a terminal of its own, of this width."""
    with terminal_of(words(*arguments), columns=columns, env=env) as shown:
        yield shown


@contextmanager
def terminal_of(
    command: list[str], *, columns: int = 80, env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Start any process at a terminal of its own, of this width."""
    master, slave = pty.openpty()
    _set_width(slave, columns)
    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(env),
        start_new_session=True,
        # The terminal that a session opens first is its own.
        preexec_fn=_take_terminal,  # noqa: PLW1509 (no other threads matter here)
    )
    os.close(slave)

    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)


def at_terminal(*arguments: str, columns: int = 80, env: Mapping[str, str] | None = None) -> Result:
    """Run the program at a terminal to its end; ``out`` is the whole screen."""
    with terminal(*arguments, columns=columns, env=env) as shown:
        return shown.finish()


def without_colors(text: str) -> str:
    """Return a text without the escape codes that only set colours."""
    return _SGR.sub("", text)


def _set_width(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
