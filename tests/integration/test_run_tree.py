"""Which processes are a run's: those that were started with its files, or carry its mark."""

import asyncio
import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from queuectl import QueueEngine
from queuectl.engine.runtime import proc
from queuectl.engine.runtime.ending import Remains
from queuectl.engine.runtime.marks import MARK_VARIABLE, Mark
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import Members, RunTree
from tests.integration.orphans import STAY, a_process
from tests.integration.processes import is_running
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# Is told to end, and ends when a file named go is there.
OBEYS: Final = """
import pathlib, signal, sys, time

def end(*_):
    while not pathlib.Path("{folder}/go").exists():
        time.sleep(0.005)

    pathlib.Path("{folder}/obeyed").touch()
    sys.exit()

signal.signal(signal.SIGTERM, end)
"""

OPENS = f"import os; os.open({{path!r}}, os.O_RDWR | {{flags}}); {STAY}"


def made_files(folder: Path) -> tuple[RunFiles, RunTree]:
    files = RunFiles(folder, 1)
    files.make_exit_file()
    assert files.open("7 1")
    mark = Mark(token=folder.name, seq=7, run=1, database=str(folder / "queue.db"))
    return files, RunTree(mark, files)


async def test_a_process_that_was_given_the_files_of_a_run_is_the_runs(tmp_path: Path) -> None:
    files, tree = made_files(tmp_path)

    async with a_process(STAY, files.lock) as pid:
        found = await in_thread(tree.look)

    files.close()
    assert [process.pid for process in found.ours] == [pid]


async def test_a_process_that_has_them_to_be_closed_on_exec_is_not(tmp_path: Path) -> None:
    """
    Such as an engine, and what it has forked for another run and that has not begun.

    That would be killed with the first run, for its process stays the same.
    """
    files, tree = made_files(tmp_path)
    code = OPENS.format(path=str(files.output_path), flags=os.O_CLOEXEC)

    async with a_process(code):
        found = await in_thread(tree.look)

    files.close()
    assert found.ours == ()
    assert found.is_held


async def test_a_stranger_who_reads_the_output_of_a_run_is_left_alone(
    engine: QueueEngine, db_path: Path
) -> None:
    await engine.enqueue("echo hi; sleep 60", id="job", timeout=1, max_retries=0)

    async with engine.workers():
        folder = db_path.parent / "queue.db-run" / "workers"
        await wait_until(lambda: any(folder.glob("*/1.log")))
        [log] = folder.glob("*/1.log")

        # Given the file and not having opened it, as a shell's `tail -f <file` is.
        with log.open("rb") as file:
            async with a_process(STAY, file.fileno()) as pid:
                job = await engine.wait("job", timeout=10)
                assert is_running(pid)

    assert job.reason == "timeout"


def _refuse(*_: Any) -> Any:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("call", ["os.pidfd_open", "signal.pidfd_send_signal"])
async def test_a_process_is_signalled_where_descriptors_of_processes_are_refused(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    async with a_process(STAY) as pid:
        process = proc.find_process(pid)
        assert process is not None
        monkeypatch.setattr(call, _refuse)
        was_told = proc.send(process, signal.SIGKILL)
        await wait_until(lambda: not is_running(pid))

    assert was_told


async def test_whoever_got_the_number_of_a_process_is_not_signalled_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_process(STAY) as pid:
        process = proc.find_process(pid)
        assert process is not None
        earlier = msgspec.structs.replace(process, started=process.started - 1)
        monkeypatch.setattr(os, "pidfd_open", _refuse)
        signalled: list[int] = []
        monkeypatch.setattr(os, "kill", lambda pid, _: signalled.append(pid))
        assert proc.send(earlier, signal.SIGKILL)
        monkeypatch.undo()

    assert signalled == []


@pytest.mark.parametrize("number", ["1" * 5000, "\N{SUPERSCRIPT TWO}"])
async def test_who_carries_what_only_looks_like_a_mark_does_not_keep_others_from_being_seen(
    tmp_path: Path, number: str
) -> None:
    files, tree = made_files(tmp_path)
    looks_like = {MARK_VARIABLE: f"a.{number}.1:/x"}

    async with a_process(STAY, environ=looks_like), a_process(STAY, files.lock) as pid:
        found = await in_thread(tree.look)

    files.close()
    assert [process.pid for process in found.ours] == [pid]


async def test_a_run_that_was_hidden_at_one_look_and_is_seen_at_the_next_has_its_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, tree = made_files(tmp_path)
    looks = 0
    real = RunTree.look

    def look(tree: RunTree) -> Members:
        nonlocal looks
        looks += 1
        return Members(ours=(), is_held=True) if looks == 1 else real(tree)

    async with a_process(OBEYS.format(folder=tmp_path) + STAY, files.lock):
        files.close()
        monkeypatch.setattr(RunTree, "look", look)
        # Over before the second look.
        monkeypatch.setattr("queuectl.engine.runtime.tree._LETTING_GO", 0.001)
        ending = asyncio.create_task(tree.end(60))
        # Who was to be killed at the third look is gone by then.
        await wait_until(lambda: looks >= 5 or ending.done())
        (tmp_path / "go").touch()
        remains = await ending

    assert remains is Remains.GONE
    assert (tmp_path / "obeyed").exists()


def test_a_system_that_fails_to_say_what_runs_is_not_taken_for_one_that_never_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: str) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "readlink", fail)

    with pytest.raises(OSError, match="Input/output error"):
        proc.can_list()


def test_a_time_that_there_is_not_is_no_time_at_which_a_shell_wrote(tmp_path: Path) -> None:
    files, _ = made_files(tmp_path)
    files.close()
    assert files.written_at() is not None

    # Of a year that datetime does not have, where the disk can keep it.
    os.utime(files.exit_path, (300_000_000_000, 300_000_000_000))
    is_kept = files.exit_path.stat().st_mtime == 300_000_000_000

    assert (files.written_at() is None) is is_kept


def test_a_link_in_place_of_a_runs_file_makes_no_other_file_the_runs(tmp_path: Path) -> None:
    files, _ = made_files(tmp_path)
    other = tmp_path / "other"
    other.touch()
    files.output_path.unlink()
    files.output_path.symlink_to(other)
    lock = files.lock_path.stat()
    found = files.identities()

    files.close()
    assert found == {(lock.st_dev, lock.st_ino)}
