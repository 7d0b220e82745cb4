"""Commands that tests enqueue."""

from typing import Any


def appending(name: str, *, id: str, **more: Any) -> dict[str, object]:  # noqa: A002
    """Return a job that appends its id to a file."""
    return {"id": id, "command": f"echo $QUEUECTL_JOB_ID >> {name}", **more}


def gated(job_id: str = "job") -> dict[str, object]:
    """
    Return a job that goes on until the file ``go`` is there.

    It writes its process number into ``began`` and its id into ``ended``.
    """
    return {
        "id": job_id,
        "command": (
            "echo $$ >> began; echo hello; until [ -e go ]; do sleep 0.02; done;"
            " echo $QUEUECTL_JOB_ID >> ended; echo goodbye"
        ),
    }


def family(job_id: str = "job") -> dict[str, object]:
    """Return a job of several processes, without end, that TERM ends."""
    return {
        "id": job_id,
        "command": "sleep 600 & (sleep 600 & sleep 600) & echo $$ >> began; wait",
    }


def stubborn(job_id: str = "job") -> dict[str, object]:
    """Return a job of several processes, without end, that TERM does not end."""
    return {
        "id": job_id,
        "command": "trap '' TERM; (sleep 600 & sleep 600) & echo $$ >> began; wait; sleep 600",
    }
