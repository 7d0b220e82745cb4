"""``dashboard``: a process, for it is one that is met with a browser."""

import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from queuectl.dashboard.__main__ import with_command
from tests.cli.program import (
    Queuectl,
    Running,
    finish,
    next_line,
    run_process,
    run_words,
    started_process,
)


@contextmanager
def started_dashboard(database: Path, *options: str) -> Iterator[tuple[Running, str]]:
    """Start a dashboard, and yield it with its link when it is there."""
    words = ("--db", str(database), "dashboard", "--port", "0", *options)

    with started_process(*words) as process:
        line = next_line(process)
        found = re.fullmatch(r"Dashboard: (http://\S+)\n", line)
        assert found is not None, line + finish(process).err
        yield process, found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_link_opens_it_and_a_signal_ends_it_at_once(
    queuectl: Queuectl, db_path: Path, number: signal.Signals
) -> None:
    queuectl.ok("enqueue", "--id", "job-1", "--", "true")

    with started_dashboard(db_path) as (process, link), httpx2.Client() as browser:
        signed_in = browser.get(link)
        base = link.partition("?")[0]
        job = browser.get(f"{base}api/jobs/job-1")

        with browser.stream("GET", f"{base}live/job?job=job-1&output=yes") as stream:
            next(stream.iter_raw())
            begin = time.monotonic()
            process.send_signal(number)
            result = finish(process)
            took = time.monotonic() - begin

    assert signed_in.status_code == 303
    assert job.json()["id"] == "job-1"
    assert (result.code, result.out, result.err) == (0, "", "")
    assert took < 2


def test_python_m_starts_the_same(db_path: Path) -> None:
    command = [sys.executable, "-m", "queuectl.dashboard"]
    mine = run_words([*command, "--db", str(db_path), "--help"])
    usual = run_process("dashboard", "--help")

    assert mine.code == usual.code == 0
    assert mine.out == usual.out


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], ["dashboard"]),
        (["--port", "1"], ["dashboard", "--port", "1"]),
        (["--db", "x", "--port", "1"], ["--db", "x", "dashboard", "--port", "1"]),
        (["--db=x", "--debug", "--json"], ["--db=x", "--debug", "dashboard", "--json"]),
        (["--db"], ["--db", "dashboard"]),
    ],
)
def test_what_stands_before_a_command_is_put_there(given: list[str], meant: list[str]) -> None:
    assert with_command(given) == meant


def test_scripts_are_given_an_object(db_path: Path) -> None:
    words = ("--db", str(db_path), "dashboard", "--port", "0", "--json")

    with started_process(*words) as process:
        url = json.loads(next_line(process))["url"]

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{40,}", url)


def test_a_token_from_a_file_is_not_printed(db_path: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("0123456789abcdef\n")

    with started_dashboard(db_path, "--token-file", str(token)) as (process, link):
        note = next_line(process, "stderr")
        answer = httpx2.get(
            f"{link}api/openapi.json", headers={"authorization": "Bearer 0123456789abcdef"}
        )

    assert link.endswith("/")
    assert note == f"sign in with the token in {token}\n"
    assert answer.status_code == 200


def test_a_port_that_is_taken_is_said_in_one_line(db_path: Path) -> None:
    with started_dashboard(db_path) as (_, link):
        port = link.partition("/?")[0].rpartition(":")[2]
        result = run_process("--db", str(db_path), "dashboard", "--port", port)

    assert result.code == 1
    assert result.out == ""
    assert result.err.startswith(f"error: port {port} is taken\nhint: ")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--host", "0.0.0.0"), 1, "can be reached from other machines"),  # noqa: S104 (refused)
        (("--token-file", "/no/such/file"), 1, "cannot read the token"),
        (("--read-only", "--allow-enqueue"), 2, "exclude each other"),
        (("--allow-host", "http://a/"), 2, "not the name of a host"),
        (("--port", "65536"), 2, "65536"),
    ],
)
def test_what_cannot_be_is_refused(
    queuectl: Queuectl, options: tuple[str, ...], code: int, words: str
) -> None:
    result = queuectl.error("dashboard", *("--port", "0") * ("--port" not in options), *options)

    assert result.code == code
    assert words in result.err


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "jinja2"])
def test_without_the_extra_it_says_how_to_get_it(db_path: Path, package: str) -> None:
    # As if it were not installed: an import of None is refused as a missing module is.
    script = (
        f"import sys; sys.modules[{package!r}] = None; from queuectl.cli import program;"
        f" sys.exit(program.execute(['--db', {str(db_path)!r}, 'dashboard']))"
    )

    result = run_words([sys.executable, "-c", script])

    assert result.code == 1
    assert result.out == ""
    assert result.err == (
        f"error: the dashboard needs extra packages, and {package} is missing\n"
        "hint: install them with: pip install 'queuectl[dashboard]'\n"
    )


def test_the_program_starts_without_the_packages_of_the_dashboard() -> None:
    script = (
        "import sys; from queuectl.cli import program; program.execute(['--version']);"
        " print(sorted({'starlette', 'uvicorn', 'jinja2'} & set(sys.modules)))"
    )

    assert run_words([sys.executable, "-c", script]).out.splitlines()[-1] == "[]"
