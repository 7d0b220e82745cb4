"""What is kept of a run: its output, its outcome, its place in the database."""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from queuectl.engine.domain.lifecycle import Outcome, Transition, cancelled_instead, decide
from queuectl.engine.domain.models import Job, OutcomeKind
from queuectl.engine.domain.settings import DEFAULTS
from queuectl.engine.errors import EngineClosedError, StoreBusyError, StoreError, StoreUnusableError
from queuectl.engine.runtime.clock import Clock, sleep
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.outcomes import note_outcome
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.base import INLINE_OUTPUT_BYTES, JobStore, RunRecord

if TYPE_CHECKING:
    from queuectl.engine.runtime.tracing import AttemptSpan, Tracing

_log = logging.getLogger(__name__)

# Seconds between two offers of a result that the database did not take.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

# How often to offer it still when the worker has to go.
_LAST_TRIES: Final = 4


class EndedRun(msgspec.Struct, frozen=True, kw_only=True):
    """
    A run that has ended, as it is to be recorded.

    Attributes:
        job: As claimed.
        outcome: How it ended.
        started_at: When it started.
        took: How long it took.
        result: What the system said of it, where it did.
        output_of: Its files, with the output open; None where it has none.
        span: Of this run, where one was begun.
    """

    job: Job
    outcome: Outcome
    started_at: datetime
    took: timedelta = timedelta()
    result: ProcessResult | None = None
    output_of: RunFiles | None = None
    span: "AttemptSpan | None" = None

    @property
    def finished_at(self) -> datetime:
        """When it ended."""
        return self.started_at + self.took


class Recorder:
    """
    Decides what becomes of a job, and records it until the database has it.

    Args:
        store: Where it is recorded.
        clock: Tells the time.
        folder: Where large outputs go.
        tracing: Traces runs; None where nobody does.
        gives_back: Whether others may have what was interrupted; else it is cancelled.
    """

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        folder: StateFolder,
        tracing: "Tracing | None" = None,
        *,
        gives_back: bool = True,
    ) -> None:
        self._store = store
        self._clock = clock
        self._folder = folder
        self._tracing = tracing
        self._gives_back = gives_back
        self._luck = random.Random().random  # noqa: S311 (spreads retries, hides nothing)

    async def record(
        self,
        ended: EndedRun,
        *,
        tries: int | None = None,
        has_to_go: Callable[[], bool] = lambda: False,
        note_in: RunFiles | None = None,
    ) -> bool:
        """
        Record a run that has ended.

        Args:
            ended: The run.
            tries: How often to try at the most; None for as often as it takes.
            has_to_go: Whether the worker cannot wait any longer: then a few times more.
            note_in: Where to write its outcome down then; None where it has no files.

        Returns:
            False where it is somebody else's to record: the claim is not ours any
            more, or the worker has to go.

        Raises:
            StoreUnusableError: The database will never take it.
            StoreError: It did not in so many tries.
            OSError: Its output could not be kept in so many tries.
        """
        try:
            return await self._record_at_last(ended, tries, has_to_go, note_in)
        except asyncio.CancelledError:
            # The loop itself ends, which no shield keeps out; it may be recorded, or not.
            self.note_outcome(ended.job, ended.outcome, note_in)
            raise

    async def _record_at_last(
        self,
        ended: EndedRun,
        tries: int | None,
        has_to_go: Callable[[], bool],
        note_in: RunFiles | None,
    ) -> bool:
        """Offer a run until the database has it; see `record`."""
        pause = _FIRST_PAUSE

        while True:
            try:
                return await self._record_once(ended)
            except (StoreUnusableError, EngineClosedError):
                self.note_outcome(ended.job, ended.outcome, note_in)
                raise
            except (StoreError, OSError) as error:
                if tries is None and has_to_go():
                    tries, pause = _LAST_TRIES, _FIRST_PAUSE

                tries = None if tries is None else tries - 1

                if tries == 0:
                    if not has_to_go():
                        raise

                    _log.error("job %s: its result is left in its files: %s", ended.job.id, error)
                    self.note_outcome(ended.job, ended.outcome, note_in)
                    return False

                level = logging.INFO if isinstance(error, StoreBusyError) else logging.ERROR
                _log.log(level, "job %s: its result waits: %s", ended.job.id, error)
                await sleep(self._clock, pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def note_outcome(self, job: Job, outcome: Outcome, note_in: RunFiles | None) -> None:
        """Write down how a run ended that is somebody else's to record, as far as that goes."""
        if note_in is None:
            return

        if outcome.kind is OutcomeKind.INTERRUPTED and not self._gives_back:
            # Who reads it would give the job back.
            outcome = msgspec.structs.replace(outcome, kind=OutcomeKind.CANCELLED)

        try:
            note_outcome(note_in, run_note(job.run_key), outcome)
        except OSError as error:
            _log.warning("job %s: cannot note how its run ended: %s", job.id, error)

    def output_path(self, job: Job) -> Path:
        """Return where a run's output is kept, if it is large."""
        return self._folder.output(job.run_key)

    async def mark_stuck(self, job: Job, words: str) -> None:
        """Say why a run is neither over nor goes on, as far as the database takes it."""
        try:
            if await self._store.mark_stuck(job, words, now=self._clock.now()):
                _log.error("job %s is stuck: %s", job.id, words)
        except StoreUnusableError:
            raise
        except StoreError as error:
            _log.error("job %s: cannot say that it is stuck: %s", job.id, error)

    async def _record_once(self, ended: EndedRun) -> bool:
        outcome, result = ended.outcome, ended.result
        size, output = await self._keep_output(ended.job, ended.output_of)
        run = RunRecord(
            started_at=ended.started_at,
            finished_at=ended.finished_at,
            outcome=outcome.kind,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            reason=outcome.reason,
            cpu=result.cpu if result else None,
            max_rss_bytes=result.max_rss_bytes if result else None,
            output_bytes=size,
            output=output,
        )
        return await self._offer(ended, run)

    async def _keep_output(self, job: Job, files: RunFiles | None) -> tuple[int, bytes | None]:
        """
        Move a large output out of the way.

        Returns:
            The output's size, and the output itself where it is small.
        """
        if files is None:
            return 0, None

        size = files.output_size()

        if size <= INLINE_OUTPUT_BYTES:
            return size, files.read_output(size)

        await in_thread(files.move_output, self.output_path(job))
        return size, None

    async def _offer(self, ended: EndedRun, run: RunRecord) -> bool:
        job, outcome = ended.job, ended.outcome
        # Only what failed needs the config, and most jobs do not fail.
        is_completed = outcome.kind is OutcomeKind.COMPLETED
        settings = DEFAULTS if is_completed else await self._store.settings()
        now = self._clock.now()
        transition = decide(
            job,
            outcome,
            backoff=settings.backoff(job.backoff_base),
            now=now,
            luck=self._luck(),
        )

        if outcome.kind is OutcomeKind.INTERRUPTED and not self._gives_back:
            transition = cancelled_instead(transition, outcome.reason or outcome.kind)

        made = await self._store.finish(job, transition, run, now=now)

        if made is None:
            _log.warning("job %s: run %d is not ours any more", job.id, job.run_count)
            return False

        why = f": {made.reason}" if made.reason else ""
        _log.info("%s %s%s", made.event, job.id, why)
        self._trace(ended, made)
        return True

    def _trace(self, ended: EndedRun, transition: Transition) -> None:
        """End the span of a run; where its worker died with it, it gets one now."""
        span = ended.span

        if span is None and self._tracing is not None:
            span = self._tracing.begin(ended.job, ended.started_at)

        if span is not None:
            span.end(ended.outcome, transition, ended.finished_at)
