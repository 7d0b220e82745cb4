"""What a worker that is started from a job has of that job."""

import os

import pytest

from queuectl.cli import launch
from queuectl.engine.runtime.marks import MARK_VARIABLE, Mark


def test_a_worker_that_a_job_starts_does_not_carry_the_jobs_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = Mark(token="0123456789abcdef", seq=1, run=1, database="/queue.db")  # noqa: S106
    monkeypatch.setenv(MARK_VARIABLE, str(mark))
    before = dict(os.environ)

    assert launch._environ() == {key: before[key] for key in before if key != MARK_VARIABLE}
    assert dict(os.environ) == before
