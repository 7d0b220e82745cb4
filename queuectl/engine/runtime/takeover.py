"""Runs that a worker has to watch although asyncio does not watch them for it."""

import errno
import logging

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job, OnCrash
from queuectl.engine.runtime import proc
from queuectl.engine.runtime.adoption import Orphan, OrphanProcess
from queuectl.engine.runtime.outcomes import noted_outcome, noted_reason, spawn_outcome
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.runner import RunRequest
from queuectl.engine.runtime.tree import RunTree

_log = logging.getLogger(__name__)


def started_unwatched(
    job: Job, request: RunRequest, error: OSError | ValueError | RuntimeError
) -> OrphanProcess | Outcome:
    """
    Return the shell of a run that was started although its start has failed.

    From Python 3.14 on asyncio begins to watch a process only after it has
    started it, and may fail at that: as an orphan it is watched without asyncio.

    Returns:
        What the error means, where nothing was started.

    Raises:
        OSError: It cannot be seen now whether anything was.
    """
    files = request.files
    is_held = files.is_held()
    # After that look: it writes first, and ends then.
    left = files.exit_note(request.note)

    if left is not None and left.leader is not None:
        orphan = Orphan(
            job=job,
            note=request.note,
            files=files,
            tree=RunTree(request.mark, files, left.leader, files.written_at()),
            shell=proc.find_process(left.leader) if is_held else None,
            leader=left.leader,
        )
        return OrphanProcess(orphan)

    if is_held:
        raise BlockingIOError(errno.EAGAIN, "its shell has not come to its first word")

    return spawn_outcome(error)


def take_over(run: Run, orphan: Orphan) -> OrphanProcess:
    """
    Return the shell of a run that is ours from here on.

    What was so before counts, and only then what our worker has been told meanwhile:
    how it ended, why its last worker was ending it, or that its job wants an end.

    Raises:
        OSError: Its files cannot be read, or written; nothing is changed.
    """
    run.known_outcome = noted_outcome(orphan.files, orphan.note)
    reason = noted_reason(orphan.files, orphan.note)

    if run.known_outcome is not None:
        run.end()
    elif reason is not None and reason is not StopReason.LEAVE:
        run.stop_as_before(reason, run.job.cancel_reason)
    elif _has_left_code(orphan):
        run.end()
    elif reason is None and run.job.on_crash is not OnCrash.ADOPT:
        run.stop_as_before(StopReason.CRASH)
    elif reason is StopReason.LEAVE and run.stop_reason is None:
        # Else it would be taken for left once more, where we die.
        orphan.files.note_end(run.note)

    return OrphanProcess(orphan)


def _has_left_code(orphan: Orphan) -> bool:
    left = orphan.files.exit_note(orphan.note)
    return left is not None and left.code is not None


def note_end(files: RunFiles, run: Run) -> None:
    """Write down why a run is being ended; where that cannot be done it is ended all the same."""
    try:
        files.note_end(run.note, run.stop_reason or "")
    except OSError as error:
        _log.warning("job %s: cannot note why its run is ended: %s", run.job.id, error)
