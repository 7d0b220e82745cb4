"""The exit code of a command survives the engine, whatever shape the command has."""

import os
import re
import shlex
import signal
import subprocess  # noqa: TID251 (runs the commands as a shell does, without the engine)
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import anyio
import msgspec
import pytest

from queuectl import Event, EventKind, Job, JobSpec, QueueEngine
from tests.integration.processes import WORK, engine_process
from tests.waiting import wait_until

# Where the command waits; a command without one waits before its first line.
GATE: Final = "read gate <$gate"

_PYTHON: Final = f"{shlex.quote(sys.executable)} -ISc"
# One byte only: what is read ahead is another command's.
_PYTHON_GATE: Final = "os.read(os.open(os.environ['gate'], os.O_RDONLY), 1)"

SHAPES: Final = {
    "builtin": "false",
    "code of more than a byte": f"{GATE}; exit 256",
    "code of more than a byte that is not 0": f"f() {{ return 300; }}; {GATE}; f",
    "list": "true && false || exit 4",
    "pipeline": f"{GATE} | cat; echo c b a | tr ' ' '\\n' | sort | head -n 1; exit 5",
    "pipeline that decides": "echo a | grep -q b",
    "exec": f"{GATE}; exec sh -c 'echo in its place; exit 11'",
    "exec that waits": "exec sh -c 'read gate <$gate; exit 12'",
    "exec of what is missing": "exec no-such-program",
    "exec of python": f"exec {_PYTHON} "
    f"\"import os; {_PYTHON_GATE}; print('hi'); raise SystemExit(13)\"",
    "exec of python that closes everything": f"exec {_PYTHON} "
    f'"import os; os.closerange(0, 1024); {_PYTHON_GATE}; os._exit(14)"',
    "exec of python that a signal ends": f"exec {_PYTHON} "
    f'"import os; {_PYTHON_GATE}; os.kill(os.getpid(), 9)"',
    "exec without its environment": "exec env -i gate=\"$gate\" sh -c 'read gate <$gate; exit 15'",
    "exec with a lower priority": "exec nice -n 5 sh -c 'read gate <$gate; exit 16'",
    "output sent elsewhere": f"exec >other 2>&1; {GATE}; echo hidden; exit 17",
    "output closed": f"exec >&- 2>&-; {GATE}; exit 18",
    "input closed": f"exec <&-; {GATE}; exit 19",
    "numbers closed": "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exit 20",
    "numbers used": "exec 3>&1 9>&2; echo three >&3; echo nine >&9; exit 21",
    "output opened anew": "echo a; echo b >>/dev/stdout; echo c >>/dev/stderr; exit 22",
    "output cut by itself": "echo a; echo b >/dev/stdout; exit 23",
    "output in bytes": "printf '\\377\\000\\n'; exit 24",
    "output in a file of its own": "head -c 50000 /dev/zero | tr '\\0' x; exit 25",
    "exec in disguise": f"{GATE}; e'x'ec sh -c 'exit 60'",
    "exec of a variable": f"launch=exec; {GATE}; $launch sh -c 'exit 61'",
    "exec by the name of a file": f"touch exec; {GATE}; exe[c] sh -c 'exit 62'",
    "exec of a text": f"echo 'exec sh -c \"exit 63\"' >text; {GATE}; \\. ./text",
    "text in a case": f"echo 'exec sh -c \"exit 64\"' >text; {GATE}; case x in x). ./text;; esac",
    "exec of a variable in a loop": f"launch=exec\nfor i in 1\n"
    f"do {GATE}; $launch sh -c 'exit 66'\ndone",
    "text behind a comment": f"echo 'exec sh -c \"exit 67\"' >text; {GATE} # no \\\n. ./text",
    "trap taken away in disguise": f"{GATE}; tr\"\"ap '' EXIT; exit 65",
    "trap of its end": f"trap 'echo bye' EXIT; {GATE}; exit 26",
    "trap that changes the code": f"trap 'exit 27' EXIT; {GATE}; exit 1",
    "trap of a signal": f"trap 'echo got; exit 28' TERM; {GATE}; kill -TERM $$; exit 1",
    "trap that ignores": f"trap '' HUP INT TERM; {GATE}; kill -TERM $$; echo alive; exit 29",
    "trap of a signal to all": f"trap 'exit 30' TERM; {GATE}; kill -TERM 0; exit 1",
    "subshell": f"({GATE}; exit 31)",
    "subshell goes on": f"({GATE}; exit 3); echo $?; exit 32",
    "substitution": f'x=$({GATE}; echo kept; exit 3); echo "$? $x"; exit 33',
    "syntax error": "if then",
    "syntax error behind a line": "echo a\n)",
    "open quote": "echo 'a",
    "open substitution": "echo $(a",
    "heredoc": f"{GATE}; cat <<END\n$((1 + 1)) 'quoted'\nEND\nexit 34",
    "heredoc open": "cat <<END\nopen",
    "set -e": f"set -e; {GATE}; false; echo not here",
    "set -u": f"set -u; {GATE}; echo $no_such_variable; echo not here",
    "set -C": f"set -C; {GATE}; exit 35",
    "set -f": f"set -f; {GATE}; echo *; exit 36",
    "background": f"sleep 60 & {GATE}; exit 37",
    "background without output": f"sleep 60 >/dev/null 2>&1 & {GATE}; exit 38",
    "background waited for": f"({GATE}; exit 39) & wait $!",
    "session of its own": "setsid -w sh -c 'read gate <$gate; exit 41'; exit $?",
    "trailing comment": "exit 42 # and no more",
    "comment only": "# nothing",
    "trailing backslash": "exit 43 \\",
    "trailing lines": "exit 44\n\n\n",
    "trailing ampersands": "true &&",
    "nothing behind a line": "\n",
    "killed": "kill -KILL $$",
    "terminated": "kill -TERM $$",
    "hung up": "kill -HUP $$",
    "all terminated": "kill -TERM 0; sleep 60",
    "killed by a child": "sh -c 'kill -KILL $PPID'; exit 1",
    "killed in a second shell": "trap : USR1; kill -KILL $$",
    "child killed": "sh -c 'kill -KILL $$' 2>/dev/null; exit $?",
    "functions named like builtins": "echo() { :; }; command() { return 9; }; "
    f"printf() {{ return 9; }}; {GATE}; exit 45",
    "aliases of builtins": f"alias echo=false command=false\n{GATE}\nexit 46",
    "long": f"{GATE}; x={'y' * 110_000}; exit 47",
    "long in a second shell": f"eval :; {GATE}; x={'y' * 110_000}; exit 48",
    "many lines": ":\n" * 20_000 + "exit 49",
    "return": "return 50",
    "break": "break; exit 51",
    "no files": f"ulimit -f 0; {GATE}; exit 52",
    "no descriptors": f"{GATE}; ulimit -n 3; exit 53",
    "umask": f"umask 777; : >file; {GATE}; exit 54",
    "folder deleted": f'mkdir gone; cd gone; rmdir "$PWD"; {GATE}; exit 55',
    "own folder deleted": f'rm -r "$PWD"; {GATE}; exit 56',
    "no path": f"PATH=; IFS=0123456789; {GATE}; exit 57",
    "no variables": f"{GATE}; unset PATH HOME QUEUECTL_DB QUEUECTL_RUN QUEUECTL_JOB_ID; exit 58",
    "stdin": f"{GATE}; cat; exit 59",
    "code of a signal": f"{GATE}; exit 137",
    "highest code": f"{GATE}; exit 255",
}


# For all of them together; the mark for one test lets go of the usual deadline.
PATIENCE: Final = 60


class Ended(msgspec.Struct, frozen=True):
    """
    How a command ended, and what it left.

    Attributes:
        code: As Python gives it, negative for a signal.
        output: Without the numbers of lines in the shell's own messages.
        runs: How often it began.
    """

    code: int | None
    output: bytes
    runs: str


class Stage:
    """
    The folders of the shapes, what says that they began, and the gate.

    The gate is a pipe from which each command that passes takes a line.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = folder / "folders"
        self._begun = folder / "begun"
        self._gate = folder / "gate"
        os.mkfifo(self._gate)
        self._key = os.open(self._gate, os.O_RDWR)
        self.clean()

    def clean(self) -> None:
        """Be as if no command had run, and the gate closed."""
        for name in SHAPES:
            (self._folders / name).mkdir(parents=True, exist_ok=True)
            (self._begun / name).parent.mkdir(parents=True, exist_ok=True)
            (self._begun / name).write_text("")

        os.set_blocking(self._key, False)

        while _has_bytes(self._key):
            pass

    def open_gate(self) -> None:
        """Let every command pass, also one that should not be there."""
        os.write(self._key, b"\n" * 3 * len(SHAPES))

    def close(self) -> None:
        self.open_gate()
        os.close(self._key)

    def spec(self, name: str) -> JobSpec:
        """Return a shape as a job that runs once."""
        return JobSpec(
            command=self.command(name),
            id=name.replace(" ", "-"),
            cwd=str(self._folders / name),
            env={"gate": str(self._gate)},
            max_retries=0,
        )

    def ids(self, names: Iterable[str]) -> list[str]:
        return [self.spec(name).id or "" for name in names]

    def command(self, name: str) -> str:
        """Return a shape that says that it began, and has a gate."""
        shape = SHAPES[name]
        begin = f"echo x >>{shlex.quote(str(self._begun / name))}\n"
        return begin + (shape if "gate" in shape else f"{GATE}\n{shape}")

    def runs(self, name: str) -> str:
        """Return a letter for each time that a shape began."""
        return (self._begun / name).read_text().replace("\n", "")

    def have_begun(self, names: Sequence[str]) -> bool:
        return all(self.runs(name) for name in names)

    def run_plainly(self, name: str, log: Path) -> Ended:
        """Run a shape as a shell runs it, with an output such as a job has."""
        spec = self.spec(name)

        log.write_bytes(b"")

        with (
            log.open("ab") as output,
            subprocess.Popen(
                ["/bin/sh", "-c", spec.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=spec.cwd,
                env={**os.environ, **(spec.env or {})},
                start_new_session=True,
            ) as shell,
        ):
            try:
                code = shell.wait(timeout=10)
            finally:
                _end_group(shell.pid)

        return Ended(code, _without_line_numbers(log.read_bytes()), self.runs(name))


def _has_bytes(descriptor: int) -> bool:
    try:
        return bool(os.read(descriptor, 4096))
    except BlockingIOError:
        return False


def _end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _without_line_numbers(text: bytes) -> bytes:
    """Drop what a line more at the top changes in the shell's own messages."""
    return re.sub(rb"(?m)^(\S*sh: )(line )?\d+: ", rb"\1", text)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def plain(stage: Stage, tmp_path: Path) -> dict[str, Ended]:
    """How each shape ends without the engine; what they left is gone again."""
    stage.open_gate()
    ended = {name: stage.run_plainly(name, tmp_path / "log") for name in SHAPES}
    stage.clean()
    return ended


async def ended_as_jobs(
    engine: QueueEngine, stage: Stage, names: Sequence[str]
) -> dict[str, Ended]:
    """Return how shapes ended as jobs, in the words of `Ended`."""
    ended = {}

    for name in names:
        job = await engine.get(stage.spec(name).id or "")
        output = await engine.output_bytes(job.id)
        ended[name] = Ended(_code(job), _without_line_numbers(output), stage.runs(name))

    return ended


def _code(job: Job) -> int | None:
    return job.exit_code if job.signal is None else -signal.Signals[job.signal]


def as_jobs_say(
    plain: dict[str, Ended], ended: dict[str, Ended], *, engine_died: bool
) -> dict[str, Ended]:
    """
    Say what a shell did as its job must say it.

    A second shell around the command says a signal as 128 and its number. A
    signal that ended the only shell is known to its parent alone.
    """
    expected = {}

    for name, as_job in ended.items():
        code = plain[name].code

        if code is not None and code < 0:
            by_shell = 128 - code
            by_parent = None if engine_died else code
            code = by_shell if as_job.code == by_shell else by_parent

        expected[name] = msgspec.structs.replace(plain[name], code=code)

    return expected


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE)
async def test_every_shape_of_command_ends_as_it_does_without_an_engine(
    engine: QueueEngine, stage: Stage, plain: dict[str, Ended]
) -> None:
    await engine.enqueue_many([stage.spec(name) for name in SHAPES])
    stage.open_gate()

    with anyio.fail_after(PATIENCE):
        await engine.drain(8)

    ended = await ended_as_jobs(engine, stage, list(SHAPES))
    assert ended == as_jobs_say(plain, ended, engine_died=False)


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE)
async def test_every_shape_of_command_that_ends_behind_its_dead_engine_ends_so(
    engine: QueueEngine, db_path: Path, stage: Stage, plain: dict[str, Ended]
) -> None:
    await kill_an_engine(engine, db_path, stage, list(SHAPES))

    stage.open_gate()
    with anyio.fail_after(PATIENCE):
        async with engine.workers(8):
            jobs = await engine.wait_all(stage.ids(SHAPES))

    ended = await ended_as_jobs(engine, stage, list(SHAPES))
    assert ended == as_jobs_say(plain, ended, engine_died=True)
    assert [job.reason for job in jobs if _code(job) is None and job.reason != "lost"] == []


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE)
async def test_every_shape_of_command_that_is_adopted_ends_so(
    engine: QueueEngine, db_path: Path, stage: Stage, plain: dict[str, Ended]
) -> None:
    # Those with a gate of their own wait in their own shape.
    names = [name for name, shape in SHAPES.items() if "gate" in shape]
    await kill_an_engine(engine, db_path, stage, names)

    with anyio.fail_after(PATIENCE):
        async with engine.workers(8):
            await _adopted(engine, len(names))
            stage.open_gate()
            await engine.wait_all(stage.ids(names))

    ended = await ended_as_jobs(engine, stage, names)
    assert ended == as_jobs_say(plain, ended, engine_died=True)


async def kill_an_engine(
    engine: QueueEngine, db_path: Path, stage: Stage, names: Sequence[str]
) -> None:
    """Let shapes begin in an engine that is killed before they come through the gate."""
    await engine.enqueue_many([stage.spec(name) for name in names])

    async with engine_process(WORK, db_path, len(names)) as dying:
        await wait_until(lambda: stage.have_begun(names), seconds=PATIENCE)
        await dying.kill()


async def _adopted(engine: QueueEngine, count: int) -> None:
    """Return when so many runs have been adopted."""
    adopted: list[Event] = []

    async for event in engine.events(since=0):
        if event.kind is EventKind.ADOPTED:
            adopted.append(event)

        if len(adopted) == count:
            return
