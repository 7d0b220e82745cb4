"""What a worker that is started from a job has of that job."""

import os

import pytest

from queuectl.cli import launch
from queuectl.engine.runtime.marks import MARK_VARIABLE, Mark


def test_a_worker_that_a_job_starts_carries_neither_the_jobs_mark_nor_its_other_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = Mark(token="0123456789abcdef", seq=1, run=1, database="/queue.db")  # noqa: S106
    others = {name: value for name, value in os.environ.items() if name != MARK_VARIABLE}
    monkeypatch.setenv(MARK_VARIABLE, str(mark))
    monkeypatch.setenv("QUEUECTL_JOB_ID", "job")
    before = dict(os.environ)

    assert launch._environ() == others
    assert dict(os.environ) == before
