"""
Runs every block of the README and of the docs that says it can be run.

A page is a user with an empty home and an empty folder, who does the page's blocks in
order:

- ``sh``: a script, run whole with ``sh -eu``; it must exit with 0.
- ``python``: a program of its own; it must exit with 0.
- ``console``: what a terminal shows. ``$ `` begins a command, ``> `` continues it, and
  what follows is what it prints. A line ``...`` stands for any lines, ``...`` in a line
  for any text; where nothing follows, anything may be printed. A command must exit with
  0, unless the next one is ``echo $?``. The commands of a block share a shell.

Blocks in other languages are left alone.
"""

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.examples.programs import ROOT, Ended, environment, run

README: Final = ROOT / "README.md"
SECONDS: Final = 30

# Their blocks make a virtual environment, and run these tests among others.
SET_UP: Final = ("<!-- tour -->", "<!-- tests -->")

_FENCE: Final = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<language>[^`]*)")
_MARK: Final = "=== end of a command: "


class Block(NamedTuple):
    """
    A fenced block.

    Attributes:
        page: The file that it is in.
        line: The number of its first line, that of the fence.
        language: What stands behind the fence.
        text: What is between the fences.
        above: The line directly above it.
    """

    page: Path
    line: int
    language: str
    text: str
    above: str

    @property
    def place(self) -> str:
        """Where it is, as editors take it."""
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    above = ""

    for number, line in lines:
        if opening := _FENCE.fullmatch(line):
            text = []

            for _, inner in lines:
                if inner.strip().startswith(opening["ticks"]) and not inner.strip(" `~"):
                    break

                text.append(inner.removeprefix(opening["indent"]) + "\n")

            language = opening["language"].strip()
            yield Block(page, number, language, "".join(text), above.strip())

        above = line


def pages() -> list[Path]:
    """Return the README and the pages of the docs."""
    built = ROOT / "docs" / "_build"
    docs = sorted((ROOT / "docs").rglob("*.md"))
    return [README, *(page for page in docs if built not in page.parents)]


class Reader:
    """
    Somebody who does what a page says.

    Args:
        folder: Empty; for the home, and for the folder where it is done.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.folder = folder / "folder"
        self.home.mkdir(parents=True)
        self.folder.mkdir()
        self.database = self.home / "queue.db"
        self.env = environment(self.home, QUEUECTL_DB=str(self.database), LC_ALL="C.UTF-8")

    def do(self, block: Block) -> None:
        """Do what a block says, and fail the test where that fails."""
        match block.language:
            case "sh":
                self._expect_success(block, "sh", "-euc", block.text)
            case "python":
                script = self.home / "block.py"
                script.write_text(block.text)
                self._expect_success(block, sys.executable, str(script))
            case "console":
                self._do_commands(block)
            case _:
                pass

    def leave(self) -> None:
        """End the workers that were left working."""
        if not self.database.exists():
            return

        self._run("queuectl", "worker", "stop", "--now", "--timeout", "10")
        listed = self._run("queuectl", "worker", "list", "--json")

        for worker in json.loads(listed.output) if listed.code == 0 else []:
            with suppress(ProcessLookupError):
                os.kill(worker["pid"], signal.SIGKILL)

    def _run(self, *argv: str) -> Ended:
        return run(*argv, folder=self.folder, env=self.env, timeout=SECONDS)

    def _expect_success(self, block: Block, *argv: str) -> None:
        ended = self._run(*argv)

        if ended.code != 0:
            fail(block.place, how(ended.code), block.text, ended.output)

    def _do_commands(self, block: Block) -> None:
        commands = list(commands_of(block))
        script = "".join(
            f"{command.text}\n_status=$?; printf '\\n{_MARK}%s\\n' $_status; (exit $_status)\n"
            for command in commands
        )
        output = self._run("sh", "-c", script).output
        followers = [*commands[1:], None]

        for command, follower in zip(commands, followers, strict=True):
            printed, mark, output = output.partition(f"\n{_MARK}")
            status, _, output = output.partition("\n")

            if not mark:
                fail(command.place, "did not end", command.text, printed)

            if status != "0" and (follower is None or follower.text != "echo $?"):
                fail(command.place, how(int(status)), command.text, printed)

            if command.expected.strip() and not matches(command.expected, printed):
                expected = f"{command.text}\n--- expected\n{command.expected}"
                fail(command.place, "printed something else", expected, printed)


class Command(NamedTuple):
    """A command at a terminal, and what it should print."""

    place: str
    text: str
    expected: str


def commands_of(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    line = block.line + 1 + parts[0].count("\n")

    for part in parts[1:]:
        text, *rest = part.splitlines()
        expected: list[str] = []

        for position, follower in enumerate(rest):
            if not follower.startswith("> "):
                expected = rest[position:]
                break

            text += "\n" + follower.removeprefix("> ")

        yield Command(f"{name_of(block.page)}:{line}", text, "\n".join(expected))
        line += part.count("\n")


def matches(expected: str, printed: str) -> bool:
    """Whether something was printed as expected; blanks at the ends do not count."""
    patterns = [
        r"(?:.*\n)*?" if line.strip() == "..." else f"{in_line(line.rstrip())}[ \t]*\n"
        for line in expected.strip("\n").split("\n")
    ]

    return re.fullmatch("".join(patterns), printed.strip("\n") + "\n") is not None


def in_line(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))


def how(code: int | None) -> str:
    return f"did not end within {SECONDS} s" if code is None else f"ended with {code}"


def fail(place: str, what: str, ran: str, printed: str) -> None:
    pytest.fail(f"{place}: {what}\n--- ran\n{ran}\n--- printed\n{printed}", pytrace=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_reader_can_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "reader")

    try:
        for block in blocks_of(page):
            if block.above not in SET_UP:
                reader.do(block)
    finally:
        reader.leave()


def block_below(comment: str) -> Block:
    [block] = [block for block in blocks_of(README) if block.above == comment]
    assert block.language == "sh"
    return block


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_the_tour_of_the_readme_installs_the_checkout_and_runs_a_script(tmp_path: Path) -> None:
    make, install, tour = block_below("<!-- tour -->").text.strip().split(" && ")

    assert make == "python3 -m venv .venv"
    assert install == ".venv/bin/pip install --quiet ."
    python, script = tour.split()
    assert python == ".venv/bin/python"
    ended = run(sys.executable, ROOT / script, folder=tmp_path, timeout=60)
    assert ended.code == 0, ended.output


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())

    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.skipif(not (ROOT / ".ci/run").exists(), reason="a released source has no CI")
def test_ci_runs_the_tests_as_the_readme_says(tmp_path: Path) -> None:
    block = block_below("<!-- tests -->")
    # The first program of the block ends it: this one stands in for Python.
    assert block.text.startswith("python3 -m venv .venv && ")
    stub = tmp_path / "bin" / "python3"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\nexit 99\n")
    stub.chmod(0o755)
    env = environment(tmp_path)
    env["PATH"] = f"{stub.parent}:{env['PATH']}"
    assert shutil.which("python3", path=env["PATH"]) == str(stub)

    ended = run(ROOT / ".ci/run", folder=tmp_path, env=env)

    assert ended == Ended(99, block.text)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("one\ntwo", "one\ntwo\n"),
        ("one", "\n\none  \n"),
        ("id ... done", "id 01m807 done\n"),
        ("...\nlast", "first\nsecond\nlast\n"),
        ("first\n...", "first\n"),
        ("a (b) [c] $ ^ .", "a (b) [c] $ ^ .\n"),
        ("...", ""),
    ],
)
def test_output_is_compared_loosely(expected: str, printed: str) -> None:
    assert matches(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("one", "two\n"),
        ("one", "one\ntwo\n"),
        ("one\ntwo", "one\n"),
        ("id ... done", "id 01m807\ndone\n"),
        ("...\nlast", "last\nfirst\n"),
        ("a.c", "abc\n"),
    ],
)
def test_but_not_too_loosely(expected: str, printed: str) -> None:
    assert not matches(expected, printed)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```sh\ntrue\nfalse\ntrue\n```", ":1: ended with 1"),
        ("```sh\necho $unset\n```", ":1: ended with "),
        ("```python\nraise SystemExit(3)\n```", ":1: ended with 3"),
        ("```console\n$ echo a\nb\n```", ":2: printed something else"),
        ("```console\n$ true\n$ false\n$ echo $?\n2\n```", ":4: printed something else"),
        ("```console\n$ true\n\n$ false\n```", ":4: ended with 1"),
        ("```console\n$ exit\n$ true\n```", ":2: did not end"),
    ],
    ids=["sh", "sh -u", "python", "output", "code", "output below", "exit"],
)
def test_a_block_that_does_not_work_is_shown_with_its_place(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    [block] = blocks_of(page)

    with pytest.raises(pytest.fail.Exception, match=f"^page.md{problem}"):
        Reader(tmp_path / "reader").do(block)


def test_commands_of_a_block_share_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "1. A list:\n\n   ```console\n   $ cd /\n   $ cat <<END\n   > text\n   > END\n   text\n"
        "   $ pwd; false\n   /\n   $ echo $?\n   1\n   ```\n"
    )
    [block] = blocks_of(page)

    Reader(tmp_path / "reader").do(block)
