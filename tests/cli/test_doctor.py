"""``doctor``."""

from pathlib import Path

import pytest

from tests.cli.program import ESCAPE, Queuectl, at_terminal, without_colors
from tests.cli.states import fill


@pytest.fixture
def filled(db_path: Path) -> Path:
    fill(db_path)
    return db_path


def plant(database: Path) -> Path:
    """Put a link with a name that could steer a terminal among the files."""
    link = database.with_name(f"{database.name}-run") / "workers" / f"a{ESCAPE}]0;b\n\u202e.link"
    link.symlink_to("/nowhere")
    return link


def test_a_sound_database_is_exit_code_0(queuectl: Queuectl, filled: Path) -> None:
    result = queuectl("doctor")

    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert any(line.startswith("ok       integrity ") for line in lines)
    assert any(line.startswith("note     queue ") for line in lines)
    assert f"-> start one: queuectl --db {filled} worker start --detach" in result.out


def test_a_problem_is_exit_code_1_and_stands_last(queuectl: Queuectl, filled: Path) -> None:
    filled.chmod(0o640)
    result = queuectl("doctor")
    *_, words, advice = result.out.splitlines()

    assert (result.code, result.err) == (1, "")
    assert words.startswith("problem  permissions ")
    assert words.endswith(f"{filled} (0640)")
    assert advice.strip() == f"-> chmod -R go-rwx {filled}"


def test_quietly_only_problems_are_shown(queuectl: Queuectl, filled: Path) -> None:
    assert queuectl.ok("doctor", "-q").out == ""
    assert queuectl.json("doctor", "-q") == []
    filled.chmod(0o640)

    assert len(queuectl("doctor", "-q").out.splitlines()) == 2


@pytest.mark.usefixtures("filled")
def test_json_has_a_finding_each(queuectl: Queuectl) -> None:
    findings = queuectl.json("doctor")

    assert {"versions", "sqlite-version", "schema", "workers"} <= {
        finding["check"] for finding in findings
    }
    for finding in findings:
        assert finding.keys() >= {"check", "verdict", "words", "advice"}
        assert finding["verdict"] in {"ok", "note"}
        assert (finding["advice"] is None) == (finding["verdict"] == "ok")


def test_json_with_a_problem_is_exit_code_1_too(queuectl: Queuectl, filled: Path) -> None:
    filled.chmod(0o640)
    result = queuectl("doctor", "--json")

    assert (result.code, result.err) == (1, "")
    assert [found["check"] for found in result.json if found["verdict"] == "problem"] == [
        "permissions"
    ]


def test_no_database_is_no_problem_and_none_is_made(queuectl: Queuectl, db_path: Path) -> None:
    result = queuectl.ok("doctor")

    assert f"there is no database yet: {db_path}" in result.out
    assert list(db_path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"a shopping list\n" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
def test_what_is_no_database_is_a_problem_and_no_error(
    content: bytes, queuectl: Queuectl, db_path: Path
) -> None:
    db_path.write_bytes(content)
    db_path.chmod(0o600)
    result = queuectl("doctor", "-q")

    assert (result.code, result.err) == (1, "")
    assert result.out.startswith("problem  database  not a database, or damaged ")
    assert db_path.read_bytes() == content


def test_a_name_that_could_steer_a_terminal_is_escaped(queuectl: Queuectl, filled: Path) -> None:
    plant(filled)
    text = queuectl("doctor", "-q").out
    raw = queuectl("doctor", "-q", "--json").out

    assert not set(f"{ESCAPE}\u202e") & set(text + raw)
    assert len(text.splitlines()) == 2
    assert "problem  links" in text


def test_at_a_terminal_it_is_coloured_and_keeps_within_the_width(filled: Path) -> None:
    filled.chmod(0o640)
    shown = at_terminal("--db", str(filled), "doctor", columns=90)
    lines = without_colors(shown.out).splitlines()
    words = [line for line in lines if "-> " not in line]

    assert shown.code == 1
    assert f"{ESCAPE}[31mproblem{ESCAPE}[0m  permissions" in shown.out
    # A path is not broken.
    assert all(len(line) <= 90 for line in words if "/" not in line)
    assert any(line.startswith(" " * 25) for line in words)
