"""What the overview looks up by itself."""

import pytest

from queuectl import QueueEngine
from queuectl.dashboard.panes import overview


async def test_the_jobs_that_died_last_are_shown_however_old_they_are(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the listing, which has the newest in front, only the first is looked at here.
    monkeypatch.setattr(overview, "_NEWEST", 1)
    await engine.enqueue("exit 3", id="old", max_retries=0, delay=3600)

    for job_id in ("again", "gone", "new"):
        await engine.enqueue("exit 3", id=job_id, max_retries=0)

    async with engine.workers():
        await engine.wait_all(["again", "gone", "new"])
        await engine.run_now("old")
        await engine.wait("old")

    await engine.retry("again")
    await engine.delete("gone")

    shown = await overview.load(engine, {}, engine.now())

    assert [job.id for job in shown.dead] == ["old", "new"]
