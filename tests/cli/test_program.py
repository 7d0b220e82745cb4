"""What all commands have in common: help, version, JSON, completion, exit codes, start-up."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

import queuectl as package
from queuectl.cli import program
from queuectl.cli.errors import ExitCode
from tests.cli.program import Queuectl, Result, run_process, run_words
from tests.cli.states import fill

GROUPS = ("config", "db", "dlq", "worker")


def walk(group: TyperGroup, *before: str) -> Iterator[tuple[tuple[str, ...], frozenset[str]]]:
    """Yield the words and the options of every command."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from walk(command, *before, name)
        else:
            options = frozenset(word for param in command.params for word in param.opts)
            yield (*before, name), options


def all_commands() -> list[tuple[tuple[str, ...], frozenset[str]]]:
    group = typer.main.get_command(program.app)
    assert isinstance(group, TyperGroup)
    return list(walk(group))


COMMANDS = all_commands()
each_command = pytest.mark.parametrize(
    ("words", "options"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS]
)


def test_every_command_of_the_product_is_there() -> None:
    wanted = """
        enqueue, run, worker start, worker stop, worker restart, worker list, status, top, list,
        info, logs, wait, cancel, retry, delete, purge, dlq list, dlq retry, dlq purge,
        config show, config get, config set, config unset, db path, db check, db backup,
        db vacuum, db migrate, doctor
    """
    names = {" ".join(words) for words, _ in COMMANDS}

    assert names >= {" ".join(name.split()) for name in wanted.split(",")}


@each_command
def test_every_command_has_json(words: tuple[str, ...], options: frozenset[str]) -> None:
    assert "--json" in options, words


@each_command
def test_every_command_has_help_on_stdout(
    words: tuple[str, ...], options: frozenset[str], queuectl: Queuectl
) -> None:
    result = queuectl(*words, "--help")

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Usage: queuectl {' '.join(words)} ")
    assert all(option in result.out for option in options if option.startswith("--"))
    assert not queuectl.database.exists()


def test_the_help_names_every_command_and_exit_code(queuectl: Queuectl) -> None:
    text = queuectl.bare("--help").out

    assert text == queuectl.bare("-h").out
    assert {words[0] for words, _ in COMMANDS} <= set(text.split())
    codes = {str(code.value) for code in ExitCode}
    assert codes <= set(text[text.index("Exit codes:") :].replace("\n", " ").split())


def test_the_exit_codes_are_those_of_the_product() -> None:
    assert {code.value for code in ExitCode} == {0, 1, 2, 3, 4, 5, 6, 7, 130}


def test_the_version_is_printed(queuectl: Queuectl) -> None:
    assert queuectl.bare("--version") == Result(0, f"queuectl {package.__version__}\n", "")


def test_no_command_at_all_is_a_usage_error_with_the_help(queuectl: Queuectl) -> None:
    result = queuectl.bare()

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Usage: queuectl ")


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_without_a_command_is_a_usage_error_with_its_help(
    group: str, queuectl: Queuectl
) -> None:
    result = queuectl.bare(group)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"Usage: queuectl {group} ")


@pytest.mark.parametrize(
    "words", [("lst",), ("dlq", "lst"), ("list", "--nope"), ("--nope", "list"), ("info",)]
)
def test_a_usage_error_is_exit_code_2_and_one_line_with_a_hint(
    words: tuple[str, ...], queuectl: Queuectl
) -> None:
    result = queuectl(*words)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) <= 2
    assert queuectl(*words, "--json").error["code"] == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(shell: str) -> None:
    # Which shell this is cannot be told in a test.
    env = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    result = run_process("--show-completion", shell, env=env)

    assert (result.code, result.err) == (0, "")
    assert f"_QUEUECTL_COMPLETE=complete_{shell}" in result.out


def test_completion_completes_commands() -> None:
    result = run_words(
        [sys.executable, "-c", "from queuectl.cli.app import main; main()"],
        env={
            "_QUEUECTL_COMPLETE": "complete_bash",
            "COMP_WORDS": "queuectl enq",
            "COMP_CWORD": "1",
        },
    )

    assert (result.out.split(), result.err) == (["enqueue"], "")


def test_the_database_is_named_by_the_variable(
    queuectl: Queuectl, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db_path)
    monkeypatch.setenv("QUEUECTL_DB", str(db_path))

    assert queuectl.bare("list", "-q").out == queuectl.ok("list", "-q").out


def test_the_option_comes_before_the_variable(
    queuectl: Queuectl, db_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(db_path)
    monkeypatch.setenv("QUEUECTL_DB", str(tmp_path / "other.db"))

    assert queuectl.ok("list", "-q", "--state", "dead").out == "dead\n"
    assert queuectl.bare("list", "--json").out == "[]\n"


def test_data_is_on_stdout_and_everything_else_on_stderr(db_path: Path) -> None:
    good = run_process("--db", str(db_path), "enqueue", "--json", "--id", "a", "--", "true")
    bad = run_process("--db", str(db_path), "info", "b", "--json")

    assert json.loads(good.out)["id"] == "a"
    assert good.err.startswith("no worker is alive")
    assert (bad.code, bad.out) == (3, "")
    assert bad.error["message"] == "no such job: b"


@pytest.mark.parametrize("command", ["enqueue", "list", "status"])
def test_no_short_command_imports_rich_or_a_server(command: str, db_path: Path) -> None:
    script = f"""
import sys
from queuectl.cli import program, screen
screen.make_ready()
code = program.execute(["--db", {str(db_path)!r}, {command!r}] + sys.argv[1:])
heavy = {{"rich", "pydantic", "starlette", "uvicorn", "click", "asyncpg"}}
print(sorted(heavy & set(sys.modules)), code)
"""
    words = ["--", "true"] if command == "enqueue" else []
    result = run_words([sys.executable, "-c", script, *words])

    assert result.out.splitlines()[-1] == "[] 0"


def test_the_help_and_an_error_import_no_driver() -> None:
    script = """
import sys
from queuectl.cli import program
program.execute(["--help"])
program.execute(["enqueue", "ls"])
print(sorted({"rich", "aiosqlite", "asyncio"} & set(sys.modules)))
"""

    assert run_words([sys.executable, "-c", script]).out.splitlines()[-1] in {
        "[]",
        "['asyncio']",
    }


def test_enqueue_imports_no_more_than_it_needs(db_path: Path) -> None:
    script = f"""
import sys
from queuectl.cli.app import main
sys.argv = ["queuectl", "--db", {str(db_path)!r}, "enqueue", "--quiet", "--", "true"]
try:
    main()
finally:
    ours = sum(name.startswith("queuectl") for name in sys.modules)
    unused = {{"email", "http", "unittest", "multiprocessing", "xml"}}
    print(ours, len(sys.modules), sorted(unused & set(sys.modules)))
"""
    last = run_words([sys.executable, "-c", script]).out.splitlines()[-1]
    ours, all_, unused = last.split(" ", 2)

    # 85 and 338 on Python 3.11; each costs a quarter of a millisecond.
    assert int(ours) <= 85
    assert int(all_) <= 346
    assert unused == "[]"
