import re
import sys
from pathlib import Path

import pytest

from tests.examples.programs import EXAMPLES, Ended, environment, run

NOT_COMPLETED = 6


def with_program(path: Path, script: str) -> dict[str, str]:
    """Return an environment in which a program is another than usual."""
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    env = environment(path.parent)
    return {**env, "PATH": f"{path.parent}:{env['PATH']}"}


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The tour as it was printed; it takes its time."""
    folder = tmp_path_factory.mktemp("tour")
    ended = run(sys.executable, EXAMPLES / "tour.py", folder=folder, timeout=60)
    assert list(folder.iterdir()) == []
    return ended


def test_embed_runs_one_job(tmp_path: Path) -> None:
    ended = run(sys.executable, EXAMPLES / "embed.py", folder=tmp_path)

    assert ended.code == 0, ended.output
    assert re.fullmatch(r"completed 0 I am \w+\s+", ended.output)
    assert (tmp_path / "jobs.db").is_file()


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_the_tour_keeps_its_promises(tour: Ended) -> None:
    assert tour.code == 0, tour.output
    assert "\nAll of it was as promised." in tour.output
    assert "\033" not in tour.output


@pytest.mark.slow
def test_the_tour_ends_where_a_promise_is_not_kept(tmp_path: Path) -> None:
    ended = run(
        *(sys.executable, EXAMPLES / "tour.py"),
        folder=tmp_path,
        env=with_program(tmp_path / "bin" / "sleep", "exit 0"),
    )

    assert ended.code == 1
    assert ended.output.endswith("\nNot as promised: hang timed out\n")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_commands_that_the_tour_names_do_the_same(tour: Ended, tmp_path: Path) -> None:
    commands = re.findall(r"^  \$ (.+)$", tour.output, flags=re.MULTILINE)
    env = environment(tmp_path, QUEUECTL_DB=str(tmp_path / "queue.db"))
    ended = {}

    try:
        for command in commands:
            ended[command] = run("sh", "-c", command, folder=tmp_path, env=env)
            may_be = {0, NOT_COMPLETED} if "queuectl wait" in command else {0}
            assert ended[command].code in may_be, (command, ended[command])
    finally:
        run("queuectl", "worker", "stop", "--now", "--timeout", "10", folder=tmp_path, env=env)

    assert ended["queuectl logs hello"].output.startswith("hello from hello\n")
    assert "deploy" in ended["queuectl dlq list"].output
    assert ended["queuectl wait hang"].code == NOT_COMPLETED
    assert ended["cat order"].output.split() == ["urgent", "first", "second", "low"]
    assert re.search(r"completed\s+8\b", ended["queuectl status"].output)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_checksums_of_the_standard_library_are_as_hashlib_says(tmp_path: Path) -> None:
    ended = run(sys.executable, EXAMPLES / "checksums.py", folder=tmp_path, timeout=100)

    assert ended.code == 0, ended.output
    counts = re.findall(r"(\d+) (?:files|jobs|as hashlib says|not)\b", ended.output)
    files, jobs, right, wrong = map(int, counts)
    assert files == jobs == right > 1000
    assert wrong == 0


def test_checksums_names_what_differs(tmp_path: Path) -> None:
    env = with_program(tmp_path / "bin" / "sha256sum", "echo 0000  -")
    folder = tmp_path / "some files"
    folder.mkdir()
    (folder / "a file").write_text("text")

    ended = run(sys.executable, EXAMPLES / "checksums.py", folder, folder=tmp_path, env=env)

    assert ended.code == 1
    assert f"{bytes(folder / 'a file')!r}: expected " in ended.output
    assert "\n0 as hashlib says, " in ended.output
