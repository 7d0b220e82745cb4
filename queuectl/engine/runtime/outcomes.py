"""Names how runs ended: from what the system says, and why they were stopped."""

import errno
import os
import stat
from datetime import timedelta
from typing import Final

import msgspec

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job, OutcomeKind
from queuectl.engine.runtime.notes import LONGEST_OUTCOME, Refusal, run_note
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.wrapper import SHELL

# The system's fault, not the command's: given back uncharged, tried later. ESRCH is
# said of a shell that ended, without a word, before it was watched.
_SYSTEM_ERRORS: Final = frozenset(
    {
        errno.EAGAIN,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.ESRCH,
    }
)

# What every command is started with.
_SYSTEM_FILES: Final = frozenset({os.devnull, SHELL, "/"})

# Of an error that the system has not numbered.
_NO_NUMBER: Final = 0

_SYSTEM_PAUSE: Final = timedelta(seconds=1)
_MOST_CODE: Final = 255

# Gone without a word, and nobody knows how.
LOST: Final = Outcome(kind=OutcomeKind.LOST, reason="lost")

# Of what nobody came to start.
NOT_STARTED: Final = "its worker was stopped before it began"

# What is left of a reason that is too long to be written down, in characters: each takes
# six bytes at the most.
_LONGEST_REASON: Final = 128

# Claimed by a worker that died before its shell came to the command.
NEVER_BEGAN: Final = Outcome(kind=OutcomeKind.INTERRUPTED, reason="its worker died before it began")


def spawn_outcome(error: OSError | ValueError | RuntimeError) -> Outcome:
    """Name what kept a command from starting: the job's own fault, or the system's."""
    if isinstance(error, OSError) and _is_the_systems(error):
        return system_outcome(_words(error))

    return Outcome(kind=OutcomeKind.SPAWN_FAILED, reason=f"could not start: {_words(error)}")


def _is_the_systems(error: OSError) -> bool:
    is_about_ours = error.filename in _SYSTEM_FILES and error.errno != errno.E2BIG
    return error.errno in _SYSTEM_ERRORS or is_about_ours


def refusal_error(refusal: Refusal, folder: str) -> OSError:
    """
    Return what kept a shell from beginning a command. Blocking: it asks for the folder.

    The shell itself does not say why it cannot enter a folder; what is guessed is not said.
    """
    if refusal is Refusal.FORK:
        return OSError(errno.EAGAIN, "no free process for its command")

    try:
        mode = os.stat(folder).st_mode
    except OSError as error:
        return error

    if not stat.S_ISDIR(mode):
        return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)

    if not os.access(folder, os.X_OK):
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)

    return OSError(_NO_NUMBER, "the folder could not be entered", folder)


def _words(error: OSError | ValueError | RuntimeError) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}{f': {os.fsdecode(error.filename)}' if error.filename else ''}"

    if isinstance(error, UnicodeEncodeError):
        missing = error.object[error.start : error.end]
        return f"the encoding of the worker's locale, {error.encoding}, has no {missing!a}"

    return str(error)


def system_outcome(words: str | None) -> Outcome:
    """Name what kept the system from starting anything: no fault of the job."""
    return Outcome(
        kind=OutcomeKind.INTERRUPTED,
        reason=f"the system could not start it: {words}",
        pause=_SYSTEM_PAUSE,
    )


def unstarted_outcome(run: Run) -> Outcome:
    """Name the outcome of a run that was told to end before it was started: no fault of the job."""
    if run.stop_reason is StopReason.CANCEL:
        return Outcome(kind=OutcomeKind.CANCELLED, reason=run.stop_words or "cancelled")

    return Outcome(kind=OutcomeKind.INTERRUPTED, reason=NOT_STARTED)


def run_outcome(run: Run, result: ProcessResult) -> Outcome:
    """Name how a run ended: what ended it from outside comes before what it said itself."""
    return run.known_outcome or _named_outcome(run, result)


def _named_outcome(run: Run, result: ProcessResult) -> Outcome:
    code, signal = result.exit_code, result.signal

    if _is_over_limit(run):
        run.stop_reason = StopReason.OUTPUT

    match run.stop_reason:
        case StopReason.TIMEOUT:
            kind, reason = OutcomeKind.TIMED_OUT, "timeout"
        case StopReason.CANCEL:
            kind, reason = OutcomeKind.CANCELLED, run.stop_words or "cancelled"
        case StopReason.OUTPUT:
            kind, reason = OutcomeKind.FAILED, f"output_limit={run.job.max_output_bytes}"
        case StopReason.SHUTDOWN:
            kind, reason = OutcomeKind.INTERRUPTED, "interrupted"
        case StopReason.CRASH:
            kind, reason = OutcomeKind.LOST, "worker died"
        case _:
            return _own_outcome(result)

    return Outcome(kind=kind, exit_code=code, signal=signal, reason=reason)


def _own_outcome(result: ProcessResult) -> Outcome:
    """Name how a run ended that nobody ended."""
    if not result.has_begun:
        return system_outcome("its shell could not write its first word")

    return exit_outcome(result) if result.refused is None else spawn_outcome(result.refused)


def _is_over_limit(run: Run) -> bool:
    """
    Whether a run wrote more than it may; what is too much is cut off.

    It goes by the size and not by who was faster, so that it is the same each time.
    """
    limit = run.job.max_output_bytes

    if limit is None or run.files is None or run.files.output_size() <= limit:
        return False

    # The size will not tell any more, whoever has to ask again.
    run.files.note_end(run.note, StopReason.OUTPUT)
    run.files.cut_output(limit)
    return True


def left_outcome(
    job: Job, files: RunFiles, code: int | None, reaped: ProcessResult | None = None
) -> Outcome:
    """
    Name the outcome of a run that is over, and whose worker died. Blocking.

    Args:
        job: As claimed.
        files: The run's, with the output open where there is one.
        code: The exit code that it left, if any.
        reaped: What the system said of its shell, where it was our child.
    """
    run = Run(job)
    run.files = files if files.output >= 0 else None
    run.stop_reason = noted_reason(files, run.note)
    run.stop_words = job.cancel_reason
    run.known_outcome = noted_outcome(files, run.note)
    result = ProcessResult(exit_code=code, signal=None, refused=left_refusal(job, files))
    return run_outcome(run, reaped if reaped is not None and code is None else result)


def left_refusal(job: Job, files: RunFiles) -> OSError | None:
    """Return what a run's shell has left word of that kept it from the command. Blocking."""
    left = files.exit_note(run_note(job.run_key))

    if left is None or left.refusal is None:
        return None

    return refusal_error(left.refusal, job.cwd)


def noted_reason(files: RunFiles, note: str) -> StopReason | None:
    """Return why a run was being ended, or left, when its worker died; None where it was not."""
    word = files.noted_end(note)
    return StopReason(word) if word in set(StopReason) else None


def note_outcome(files: RunFiles, note: str, outcome: Outcome) -> None:
    """
    Write down how a run ended, for whoever comes after us to record it.

    Raises:
        OSError: It cannot be written.
    """
    words = msgspec.json.encode(outcome)

    if len(words) > LONGEST_OUTCOME:
        short = (outcome.reason or "")[:_LONGEST_REASON]
        words = msgspec.json.encode(msgspec.structs.replace(outcome, reason=short))

    files.note_end(note, outcome=words)


def noted_outcome(files: RunFiles, note: str) -> Outcome | None:
    """Return how a run ended that its worker knew, and could not record; None where it did not."""
    words = files.noted_outcome(note)

    try:
        outcome = None if words is None else msgspec.json.decode(words, type=Outcome)
    except msgspec.DecodeError:
        # Somebody, as the command, has written there.
        return None

    return outcome if outcome is not None and _is_ours(outcome) else None


def _is_ours(outcome: Outcome) -> bool:
    """Whether a worker may have written this down: it is in the bounds of what the system says."""
    is_code = outcome.exit_code is None or 0 <= outcome.exit_code <= _MOST_CODE
    return is_code and timedelta() <= outcome.pause <= _SYSTEM_PAUSE


def unbegun_outcome(files: RunFiles, note: str) -> Outcome:
    """Name the outcome of a run whose shell left no word, and whose worker died."""
    return noted_outcome(files, note) or NEVER_BEGAN


def exit_outcome(result: ProcessResult) -> Outcome:
    """Name the outcome of a command that ended by itself; of which nothing is known is lost."""
    if not result.is_known:
        return LOST

    code, signal = result.exit_code, result.signal

    if code == 0:
        return Outcome(kind=OutcomeKind.COMPLETED, exit_code=0)

    reason = f"signal={signal}" if code is None else f"exit_code={code}"
    return Outcome(kind=OutcomeKind.FAILED, exit_code=code, signal=signal, reason=reason)
