"""Wake-up pipes that cannot be removed cost nobody anything."""

import errno
import os
from pathlib import Path

import pytest

from queuectl import JobState, QueueEngine


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
