"""Wake-up pipes that cannot be removed cost nobody anything."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from queuectl import JobState, QueueEngine
from queuectl.engine.runtime.bus import Bus
from queuectl.engine.runtime.folder import StateFolder


@pytest.fixture
def dead_pipe(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pipe of a process that died, on a disk that lets nothing go."""
    wake = db_path.with_name("queue.db-run") / "wake"
    wake.mkdir(mode=0o700, parents=True)
    wake.parent.chmod(0o700)
    pipe = wake / "0123456789abcdef"
    os.mkfifo(pipe, 0o600)
    remove = Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path == pipe:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        remove(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    return pipe


async def test_a_pipe_that_cannot_be_removed_ends_no_engine(dead_pipe: Path, db_path: Path) -> None:
    async with QueueEngine(db_path) as engine, engine.workers():
        for name in ("first", "second"):
            await engine.enqueue(":", id=name)

        jobs = await engine.wait_all(["first", "second"], timeout=5)

    assert [job.state for job in jobs] == [JobState.COMPLETED] * 2
    assert dead_pipe.exists()


async def test_who_cannot_remove_its_pipe_closes_it_and_says_so(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = StateFolder(db_path)
    await asyncio.to_thread(folder.make)
    bus = Bus(folder.wake)
    before = open_descriptors()
    name = bus.listen()

    def refuse(path: Path, **_: bool) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    bus.close()

    assert open_descriptors() == before
    assert "cannot remove a wake-up pipe: [Errno 13] Permission denied" in caplog.text
    assert name in caplog.text


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_a_pipe_that_gets_its_name_meanwhile_keeps_no_other_draft(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StateFolder(db_path)
    folder.make()
    named, left = folder.wake / ".named", folder.wake / ".left"
    left.touch()
    monkeypatch.setattr(Path, "glob", lambda *_: iter([named, left]))

    folder.remove_drafts(left.stat().st_mtime + 1)

    assert not left.exists()
