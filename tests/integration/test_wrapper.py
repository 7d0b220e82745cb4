"""The shell code around a command changes nothing that the command does, and keeps its code."""

import os
import re
import signal
import subprocess  # noqa: TID251 (runs the code as the engine's runner would, without it)
from pathlib import Path
from typing import Final

import msgspec
import pytest

from queuectl.engine.runtime import wrapper
from queuectl.engine.runtime.notes import NOT_BEGUN, ExitNote, Refusal
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.wrapper import COMMAND_VARIABLE, TRAP_PROBE, wrap

COMMANDS: Final = {
    "builtin": "true",
    "builtin that fails": "false",
    "exit": "exit 7",
    "exit 255": "exit 255",
    "exit 137 is a code": "exit 137",
    "program": "/bin/echo hello",
    "program that fails": "ls /no/such/file",
    "missing program": "no-such-program",
    "not executable": "/etc/passwd",
    "folder": "/etc",
    "and": "true && false",
    "or": "false || exit 4",
    "not": "! true",
    "pipeline": "echo a b | tr a-z A-Z | cat",
    "pipeline that fails at its end": "echo a | (cat; exit 9)",
    "pipeline that fails at its start": "false | true",
    "several lines": "echo one\necho two\nexit 3\n",
    "exec": "exec /bin/echo hello",
    "exec that fails": "exec sh -c 'exit 11'",
    "exec of what is missing": "exec no-such-program",
    "exec redirects": "exec 2>&1; echo out; echo err >&2; exit 2",
    "exec closes": "exec >&-; exit 6",
    "trap": "trap 'echo bye' EXIT; exit 5",
    "trap that changes the code": "trap 'exit 8' EXIT; exit 5",
    "trap of a signal": "trap 'echo got; exit 12' TERM; kill -TERM $$; sleep 5",
    "trap that ignores": "trap '' TERM; kill -TERM $$; echo alive",
    "trap taken back": "trap - EXIT; exit 5",
    "subshell": "(exit 3)",
    "subshell goes on": "(cd /; exit 3); echo $?",
    "substitution": 'x=$(exit 3); echo "$?"',
    "syntax error": "echo a; )",
    "syntax error later": "echo a\nif true; then\n",
    "open quote": "echo 'a",
    "open double quote": 'echo "a',
    "open substitution": "echo $(a",
    "heredoc": "cat <<END\nhello $((1 + 1))\nEND\nexit 4",
    "heredoc quoted": "cat <<'END'\nhello $((1 + 1))\nEND",
    "heredoc at the end": "cat <<END\nhello\nEND",
    "heredoc open": "cat <<END\nhello",
    "set -e": "set -e; false; echo not here",
    "set -e goes through": "set -e; true; echo here",
    "set -eu in a function": "f() { set -eu; false; }; f; echo not here",
    "set -C": "set -C; echo a > /dev/null; exit 4",
    "set -u": "set -u; echo $no_such_variable; echo not here",
    "set -f": "set -f; echo *",
    "set -n": "set -n; echo not here",
    "set -x": "set -x; exit 3",
    "set -x behind other options": "set -e -x; exit 3",
    "set -x behind a named option": "set -o vi -x; exit 3",
    "set -- arguments": 'set -- a b; echo "$#$1"; exit $#',
    "background": "sleep 0.01 & exit 3",
    "background waited for": "sh -c 'exit 6' & wait $!",
    "background only": "true &",
    "comment": "exit 3 # the end",
    "comment only": "# nothing",
    "trailing semicolon": "exit 3;",
    "trailing ampersands": "true && ",
    "trailing backslash": "echo a \\",
    "trailing newline and backslash": "echo a\n\\",
    "trailing newlines": "exit 3\n\n",
    "leading newline": "\n\nexit 3",
    "blank first": "   exit 3",
    "closed output": "echo hello >&-",
    "closed output for all": "{ echo hello; exit 3; } >&- 2>&-",
    "closed input": "cat <&-",
    "function named echo": "echo() { exit 99; }; exit 3",
    "function named echo called": "echo() { printf 'mine\\n'; }; echo; exit 3",
    "function named printf": "printf() { return 99; }; exit 3",
    "function named exit": "f() { return 6; }; f",
    "function named command": "command() { return 99; }; exit 3",
    "alias": "alias echo=false\nexit 3",
    "alias of command": "alias command=false\nexit 3",
    "killed": "kill -9 $$",
    "terminated": "kill -TERM $$",
    "interrupted": "kill -INT $$",
    "child killed": "sh -c 'kill -9 $$'; exit $?",
    "killed by its child": "sh -c 'kill -9 $PPID'; exit 3",
    "killed after a trap": "trap : USR1; kill -9 $$",
    "killed in exec": "exec sh -c 'kill -9 $$'",
    "cd": "cd / && pwd",
    "cd away": "cd /; exit 3",
    "umask": "umask 077; exit 3",
    "no path": "PATH=; exit 3",
    "unset path": "unset PATH; exit 3",
    "separator": "IFS=0123456789; exit 3",
    "single quotes": "echo 'it'\\''s'",
    "double quotes": 'echo "it\'s $((3 * 4)) \\"\\$HOME\\""',
    "dollars": "echo $$ > /dev/null; echo \\$\\$ '$?' $0 $#",
    "status at the start": "echo $?",
    "backticks": "echo `echo nested`",
    "glob": "echo /etc/passw?",
    "tilde": "HOME=/x; echo ~",
    "percent": "printf '%s%%\\n' 100",
    "unicode": "echo 'grüße, 世界'; exit 3",
    "carriage return": "echo a\r",
    "long": "echo " + "x" * 119_000,
    "long and dangerous": "eval :; echo " + "'y' " * 29_000,
    "many lines": "x=1\n" * 20_000 + "exit 5",
    "eval": "eval 'exit 5'",
    "eval of its own variable": "eval 'echo \"[$c]\"'",
    "dot": ". /dev/null; exit 3",
    "dot of what is missing": ". /no/such/file; echo not here",
    "read": 'read line; echo "$? $line"',
    "return": "return 4",
    "break": "break 2>/dev/null; exit 3",
    "times": "times > /dev/null; exit 3",
    "wait for nothing": "wait; exit 3",
    "limit of files": "ulimit -n 10; exit 3",
}

NOTE: Final = "12 3"

# The number of the session that a command is in, and an end of what leads it.
SESSION: Final = '$(cut -d" " -f6 /proc/self/stat)'
KILL_SESSION: Final = f"kill -9 {SESSION}"

# What stands there was not written by the run's shell.
NOISE: Final = ExitNote(leader=None, code=None)


class Ended(msgspec.Struct, frozen=True):
    """What a shell did: its code as Python gives it, and what it wrote."""

    code: int
    output: str


class Wrapped(msgspec.Struct, frozen=True):
    """What a shell did whose command was wrapped, and its process number."""

    ended: Ended
    pid: int


@pytest.fixture(params=["dash", "bash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell under the name of sh, which is what it goes by."""
    program = Path("/bin") / request.param

    if not program.exists():
        pytest.skip(f"there is no {program}")

    link = tmp_path / "sh"
    link.symlink_to(program)
    monkeypatch.setattr(wrapper, "SHELL", str(link))
    return link


def run(shell: Path, code: str, **env: str) -> Ended:
    """Run shell code in a session of its own, as a job is."""
    return run_numbered(shell, code, **env).ended


def run_numbered(shell: Path, code: str, **env: str) -> Wrapped:
    """Run shell code like `run`, and tell the shell's number as well."""
    with subprocess.Popen(
        [shell, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "c": "its own", **env},
        start_new_session=True,
        cwd="/",
    ) as process:
        try:
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()

    return Wrapped(Ended(process.returncode, _without_line_numbers(output.decode())), process.pid)


def _without_line_numbers(text: str) -> str:
    """Drop what a line more at the top changes in the shell's own messages."""
    return re.sub(r"(?m)^(\S*sh: )(line )?\d+: ", r"\1", text)


def is_guarded(shell: Path, command: str) -> bool:
    """Whether a command gets a shell of its own inside the wrapping."""
    is_safe = not run(shell, TRAP_PROBE).output
    return wrapped(command, Path("0.exit"), is_safe=is_safe)[1]


def wrapped(command: str, exit_file: Path, *, is_safe: bool) -> tuple[str, bool]:
    """Wrap a command that is to run in the first folder."""
    return wrap(command, NOTE, exit_file, folder="/", refusal="not begun", trap_is_safe=is_safe)


def as_a_shell_says(ended: Ended, *, is_guarded: bool) -> Ended:
    """Say an end by a signal as the outer of two shells must: 128 and its number."""
    if ended.code < 0 and is_guarded:
        return Ended(128 - ended.code, ended.output)

    return ended


def run_wrapped(shell: Path, command: str, exit_file: Path, **env: str) -> Wrapped:
    """Run a command in its wrapping, chosen as the runner chooses it."""
    is_safe = not run(shell, TRAP_PROBE).output
    code, in_variable = wrapped(command, exit_file, is_safe=is_safe)
    handed = {COMMAND_VARIABLE: command} if in_variable else {}
    return run_numbered(shell, code, **handed, **env)


def used_files(folder: Path) -> RunFiles:
    """Return a set whose last run had a longer note than any that comes."""
    files = RunFiles(folder, 1)
    files.make_exit_file()
    write_over(files.exit_path, b"111111 111111 9999999 255\n")
    return files


def write_over(path: Path, content: bytes) -> None:
    """Write at the begin of a file without cutting it, as shells and commands can."""
    with path.open("r+b") as file:
        file.write(content)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_wrapped_command_ends_and_writes_as_a_plain_one(
    shell: Path, tmp_path: Path, command: str
) -> None:
    plain = run(shell, command)

    wrapped = run_wrapped(shell, command, tmp_path / "0.exit")

    assert wrapped.ended == as_a_shell_says(plain, is_guarded=is_guarded(shell, command))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_wrapped_command_leaves_its_code_and_a_killed_one_that_it_began(
    shell: Path, tmp_path: Path, command: str
) -> None:
    plain = as_a_shell_says(run(shell, command), is_guarded=is_guarded(shell, command))
    exit_file = tmp_path / "0.exit"

    pid = run_wrapped(shell, command, exit_file).pid

    # One that was killed leaves the word that it began, and its number, and no more.
    kept = exit_file.read_text()
    assert kept == (f"{NOTE} {pid} {plain.code}\n" if plain.code >= 0 else f"{NOTE} {pid}\n")


@pytest.mark.parametrize("name", ["ALRM", "HUP", "PIPE", "USR1", "USR2", "XCPU"])
def test_a_command_that_handles_a_signal_to_its_group_goes_on(
    shell: Path, tmp_path: Path, name: str
) -> None:
    command = f"trap 'echo got' {name}; kill -{name} 0; echo done; exit 4"
    exit_file = tmp_path / "0.exit"

    wrapped = run_wrapped(shell, command, exit_file)

    assert wrapped.ended == run(shell, command) == Ended(4, "got\ndone\n")
    assert exit_file.read_text() == f"{NOTE} {wrapped.pid} 4\n"


@pytest.mark.parametrize("command", ["exit 3", "eval 'exit 3'"])
@pytest.mark.parametrize(
    "env",
    [{"SHELLOPTS": "errexit:nounset"}, {"BASH_FUNC_echo%%": "() { :; }"}],
    ids=["options", "a function named echo"],
)
def test_what_the_environment_makes_of_the_shell_costs_no_code(
    shell: Path, tmp_path: Path, command: str, env: dict[str, str]
) -> None:
    exit_file = tmp_path / "0.exit"

    wrapped = run_wrapped(shell, command, exit_file, **env)

    assert wrapped.ended.code == 3
    assert exit_file.read_text() == f"{NOTE} {wrapped.pid} 3\n"


@pytest.mark.parametrize("command", ["echo ran", "eval 'echo ran'"])
def test_a_command_whose_folder_cannot_be_entered_does_not_begin(
    shell: Path, tmp_path: Path, command: str
) -> None:
    files = used_files(tmp_path)
    is_safe = not run(shell, TRAP_PROBE).output
    code, _ = wrap(
        command,
        NOTE,
        files.exit_path,
        folder=str(tmp_path / "missing"),
        refusal="not begun",
        trap_is_safe=is_safe,
    )

    wrapped = run_numbered(shell, code, **{COMMAND_VARIABLE: command})

    assert wrapped.ended == Ended(NOT_BEGUN, "")
    assert files.exit_note(NOTE) == ExitNote(
        leader=wrapped.pid, code=NOT_BEGUN, refusal=Refusal.FOLDER
    )


@pytest.mark.parametrize("command", ["echo ran", "eval 'echo ran'"])
@pytest.mark.parametrize("place", ["missing/0.exit", "folder", "/dev/full"])
def test_a_command_whose_shell_cannot_write_its_first_word_does_not_begin(
    shell: Path, tmp_path: Path, command: str, place: str
) -> None:
    (tmp_path / "folder").mkdir()

    if place == "/dev/full" and not Path(place).exists():
        pytest.skip(f"there is no {place}")

    ended = run_wrapped(shell, command, tmp_path / place).ended

    assert ended.code == NOT_BEGUN
    assert "ran" not in ended.output.split()


def test_a_code_replaces_the_one_of_an_earlier_run(shell: Path, tmp_path: Path) -> None:
    exit_file = tmp_path / "0.exit"
    exit_file.write_text("11 1 99999 255 and more and more\n")

    pid = run_wrapped(shell, "set -C; exit 3", exit_file).pid

    # The file is not cut: only its first line counts.
    assert exit_file.read_text().splitlines()[0] == f"{NOTE} {pid} 3"


def test_that_a_run_began_replaces_the_code_of_an_earlier_one(shell: Path, tmp_path: Path) -> None:
    exit_file = tmp_path / "0.exit"
    exit_file.write_text("11 1 99999 255 and more and more\n")

    pid = run_wrapped(shell, KILL_SESSION, exit_file).pid

    assert exit_file.read_text().splitlines()[0] == f"{NOTE} {pid}"


@pytest.mark.parametrize(
    "command", ["exit 3", "eval 'exit 3'", KILL_SESSION, f"eval '{KILL_SESSION}'"]
)
def test_the_number_that_is_kept_is_the_one_of_the_session(
    shell: Path, tmp_path: Path, command: str
) -> None:
    files = RunFiles(tmp_path, 0)

    wrapped = run_wrapped(shell, f"echo {SESSION}; {command}", files.exit_path)

    left = files.exit_note(NOTE)
    assert left is not None
    assert left.leader == wrapped.pid == int(wrapped.ended.output.split()[0])
    assert left.code == (3 if "exit" in command else None)


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (f"{NOTE} 4242", ExitNote(leader=4242, code=None)),
        (f"{NOTE} 4242 0", ExitNote(leader=4242, code=0)),
        (f"{NOTE} 4242 255", ExitNote(leader=4242, code=255)),
        (f"{NOTE} 4242 3          ", ExitNote(leader=4242, code=3)),
        (f"{NOTE} 10 1", ExitNote(leader=10, code=1)),
        (" " * 128, None),
        ("12 33 4242 0", None),
        ("1 12 3 4242", None),
        ("", NOISE),
        ("   ", NOISE),
        ("hello", NOISE),
        ("0", NOISE),
        (f"{NOTE}", NOISE),
        (f"{NOTE} ", NOISE),
        ("12 33", NOISE),
        ("12 33 1 0", NOISE),
        ("12 33 4242 0 hello", NOISE),
        (f"{NOTE} 0", NOISE),
        (f"{NOTE} 0 0", NOISE),
        # The system's first process leads no run.
        (f"{NOTE} 1", NOISE),
        (f"{NOTE} 1 0", NOISE),
        (f"{NOTE} 4242 0 0", NOISE),
        (f"{NOTE} 4242  0", NOISE),
        (f"{NOTE} -1 0", NOISE),
        (f"{NOTE} 4242 -1", NOISE),
        (f"{NOTE} 4242 256", ExitNote(leader=4242, code=0)),
        (f"{NOTE} 4242 1000", ExitNote(leader=4242, code=232)),
        (f"{NOTE} 4242 {'9' * 11}", NOISE),
        (f"{NOTE} 1e3 0", NOISE),
        (f"{NOTE} \u0664\u0662 0", NOISE),
        (f"{NOTE} {'9' * 11} 0", NOISE),
        (f"{NOTE} 4242 zero", NOISE),
    ],
    ids=str,
)
def test_only_what_the_shell_of_the_run_can_have_written_is_its_word(
    tmp_path: Path, line: str, note: ExitNote | None
) -> None:
    files = used_files(tmp_path)
    write_over(files.exit_path, f"{line}\n".encode())

    assert files.exit_note(NOTE) == note


@pytest.mark.parametrize("content", [b"12 2 4242\n", b"12 2 4242 0\n", b"1 1 4242 0\n"], ids=ascii)
def test_a_word_of_an_earlier_run_is_none_of_this_run(tmp_path: Path, content: bytes) -> None:
    files = used_files(tmp_path)
    write_over(files.exit_path, content)

    assert files.exit_note(NOTE) is None


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"\n", b"hello\n", b"0\n"], ids=ascii)
def test_what_no_shell_has_written_says_that_the_run_may_have_begun(
    tmp_path: Path, content: bytes
) -> None:
    unused, used = RunFiles(tmp_path, 0), used_files(tmp_path)
    unused.make_exit_file()

    for files in (unused, used):
        write_over(files.exit_path, content)

        assert files.exit_note(NOTE) == NOISE
        assert not files.has_whole_exit_file()


@pytest.mark.parametrize(
    "content",
    [None, b"", b"12 3 4242 0", b"\n", b"   \n", b"hello\n", b"12 2 4242 0\n"],
    ids=ascii,
)
def test_a_word_that_somebody_has_removed_says_that_the_run_may_have_begun(
    tmp_path: Path, content: bytes | None
) -> None:
    files = RunFiles(tmp_path, 0)

    if content is not None:
        files.exit_path.write_bytes(content)

    assert files.exit_note(NOTE) == NOISE


def test_a_pipe_in_the_place_of_the_word_is_not_waited_for(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, 0)
    os.mkfifo(files.exit_path)

    assert files.exit_note(NOTE) == NOISE


def test_a_file_that_was_made_for_the_word_holds_none(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, 0)
    files.make_exit_file()

    assert files.exit_note(NOTE) is None
    assert files.has_whole_exit_file()


def test_a_code_is_kept_in_a_folder_with_any_name(shell: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "a" $HOME `x` \\ folder\n'
    folder.mkdir()

    for command in ("exit 3", "eval 'exit 3'"):
        exit_file = folder / "0.exit"
        pid = run_wrapped(shell, command, exit_file).pid

        assert exit_file.read_text() == f"{NOTE} {pid} 3\n"
        exit_file.unlink()


def test_a_code_is_kept_where_a_signal_to_the_whole_group_ends_the_command(
    shell: Path, tmp_path: Path
) -> None:
    command = "trap 'exit 9' TERM; kill -TERM 0; sleep 5"

    wrapped = run_wrapped(shell, command, tmp_path / "0.exit")

    assert wrapped.ended.code == 9
    assert (tmp_path / "0.exit").read_text() == f"{NOTE} {wrapped.pid} 9\n"


@pytest.mark.parametrize("name", ["SEGV", "FPE", "ILL", "BUS"])
def test_a_command_that_takes_its_shells_along_is_not_said_not_to_have_begun(
    shell: Path, tmp_path: Path, name: str
) -> None:
    exit_file = tmp_path / "0.exit"

    wrapped = run_wrapped(shell, f"trap : TERM; kill -{name} 0", exit_file)

    assert wrapped.ended.code == -signal.Signals[f"SIG{name}"]
    assert exit_file.read_text() == f"{NOTE} {wrapped.pid}\n"
