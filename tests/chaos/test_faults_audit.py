"""How the program treats its database's files: nobody opens them, and checkpoints are alone."""

import os
import subprocess  # noqa: TID251 (a program that is watched)
import sys
from pathlib import Path

import msgspec
import pytest

import queuectl
from tests.chaos.faults_audit import Conduct
from tests.chaos.faults_vfs import library

pytestmark = [pytest.mark.timeout(60), pytest.mark.slow]

FIRST = {"PRAGMA synchronous = FULL", "PRAGMA wal_autocheckpoint = 0"}


@pytest.fixture(scope="module")
def conduct(tmp_path_factory: pytest.TempPathFactory) -> Conduct:
    """How a program that did everything once has treated the files."""
    found = watched(tmp_path_factory.mktemp("audit"))
    assert found.codes
    assert {code for _, code in found.codes} == {0}, found.codes
    return found


def watched(folder: Path, *words: str) -> Conduct:
    """Run the program that is watched."""
    try:
        library()
    except OSError as error:
        pytest.skip(str(error))

    answer = folder / "answer"
    roots = {str(Path(queuectl.__file__).parents[1]), str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.faults_audit", str(folder), str(answer), *words],
        env={**os.environ, "HOME": str(folder), "PYTHONPATH": os.pathsep.join(roots)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return msgspec.json.decode(answer.read_bytes(), type=Conduct)


def test_nobody_opens_the_databases_files_behind_the_back_of_sqlite(conduct: Conduct) -> None:
    assert conduct.opened == []


def test_every_connection_flushes_commits_and_makes_no_checkpoints_by_itself(
    conduct: Conduct,
) -> None:
    for statements in conduct.connections:
        set_up = list(takewhile_pragma(statements))
        assert set(set_up) >= FIRST, statements[:10]
        assert not [text for text in statements[len(set_up) :] if is_undone(text)], statements

    # Each command and each engine has its own.
    assert len(conduct.connections) == conduct.connects > 20


def takewhile_pragma(statements: list[str]) -> list[str]:
    """Return the settings at the beginning."""
    end = next((n for n, text in enumerate(statements) if not text.startswith("PRAGMA")), None)
    return statements[:end]


def is_undone(text: str) -> bool:
    """Whether a statement changes what was set at the beginning."""
    return "=" in text and ("synchronous" in text or "wal_autocheckpoint" in text)


def test_a_checkpoint_is_never_passive_and_no_commit_races_it(conduct: Conduct) -> None:
    kinds = {text for text, _ in conduct.checkpoints}

    assert kinds <= {"PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(RESTART)"}
    assert len(conduct.checkpoints) >= 3
    assert all(is_alone for _, is_alone in conduct.checkpoints)


def test_every_commit_keeps_checkpoints_away(conduct: Conduct) -> None:
    assert len(conduct.commits) > 50
    assert all(conduct.commits)


def test_pages_are_moved_into_the_database_only_by_who_is_alone(conduct: Conduct) -> None:
    """What SQLite does at the last connection's end holds the whole database alone."""
    assert [page for page in conduct.pages if not page.is_alone and not page.is_last] == []
    assert len([page for page in conduct.pages if page.is_alone]) > 20


def test_an_engine_that_is_careless_in_all_of_this_is_caught(tmp_path: Path) -> None:
    conduct = watched(tmp_path, "--plant")

    assert conduct.opened
    assert [text for each in conduct.connections for text in each[20:] if is_undone(text)]
    assert ("PRAGMA wal_checkpoint(PASSIVE)", False) in conduct.checkpoints
    assert False in conduct.commits
    assert [page for page in conduct.pages if not page.is_alone and not page.is_last]
