"""The SQLite store: every method is an operation for the writer; the reads are `SqliteLookups`."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.abc

from queuectl.engine.domain.lifecycle import Transition
from queuectl.engine.domain.models import Job, NewJob, StopOrder
from queuectl.engine.domain.settings import Settings
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import Change, Claim, Purged, Retried, RunRecord
from queuectl.engine.store.sqlite import by_hand, operations, upkeep
from queuectl.engine.store.sqlite.backup import copy_database
from queuectl.engine.store.sqlite.checkpoint import Checkpointer
from queuectl.engine.store.sqlite.connection import ThreadConnection, connect, named_errors
from queuectl.engine.store.sqlite.identity import FileIdentity
from queuectl.engine.store.sqlite.lookups import SqliteLookups
from queuectl.engine.store.sqlite.rows import to_ms
from queuectl.engine.store.sqlite.setup import prepare
from queuectl.engine.store.sqlite.statements import SQL, fence_values
from queuectl.engine.store.sqlite.writer import Writer

if TYPE_CHECKING:
    from queuectl.engine.store.sqlite.outbox import SqliteOutbox

T = TypeVar("T")


class SqliteStore(SqliteLookups):
    """
    A `JobStore` in one SQLite file.

    Args:
        path: The file; it is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._writing: ThreadConnection
        self._identity: FileIdentity
        self._is_closed = False
        self._writer: Writer
        self._checkpointer: Checkpointer

    async def open(self, tasks: anyio.abc.TaskGroup, *, now: datetime) -> None:
        """
        Make or migrate the file, connect, and start the writer in the task group.

        Raises:
            StoreError: The file cannot be used.
        """
        self._writing = connect(
            self._path, reader=False, prepare=partial(prepare, now_ms=to_ms(now))
        )

        with named_errors(self._path):
            await self._writing.open()

            try:
                self._identity = await self._writing.run(partial(_identify, self._path))
                self._checkpointer = await self._writing.run(lambda _: Checkpointer(self._path))
            except BaseException:
                # Its thread would keep the program from ending.
                with anyio.CancelScope(shield=True):
                    await self._writing.close()

                raise

        self._writer = Writer(
            self._writing,
            self._path,
            identity=self._identity,
            checkpointer=self._checkpointer,
        )
        tasks.start_soon(self._writer.serve)

    @property
    def outbox(self) -> "SqliteOutbox":
        """Who is told what becomes of jobs."""
        # Few programs ask for it, and all are to start fast.
        from queuectl.engine.store.sqlite.outbox import SqliteOutbox

        return SqliteOutbox(self._read, self._write)

    def on_commit(self, listener: Callable[[Change], None]) -> None:
        """Call this after each commit of ours that changed something."""
        self._writer.on_commit(listener)

    async def close(self) -> None:
        """Answer what was asked for, and close both connections."""
        if self._is_closed:
            return

        self._is_closed = True
        await self._writer.close()

        # Closing files that were replaced as if we were the last would remove the
        # log by its name, and that is another's by now. While a connection that
        # only reads has those files, it does not.
        may_be_theirs = await self._writing.run(lambda _: _may_be_lost(self._identity))
        guard = await _open_guard(self._path) if may_be_theirs else None
        # First the reader: what it has begun may need the log, which the last one removes.
        await self._close_reader()
        await self._writing.close()

        if guard is not None:
            await guard.close()

        self._checkpointer.close()

    async def insert(
        self, make: Callable[[Settings], Sequence[NewJob]], *, now: datetime
    ) -> list[Job]:
        """Add jobs, all or none."""
        return await self._write(partial(operations.insert, make=make, now=now), Change.WORK)

    async def insert_claimed(
        self, make: Callable[[Settings], NewJob], *, worker: int, now: datetime
    ) -> Job:
        """Add a job and claim it in one transaction."""
        return await self._write(
            partial(operations.insert_claimed, make=make, worker=worker, now=now), Change.STATE
        )

    async def claim(
        self, worker: int, limit: int, *, now: datetime, can_wait: bool = False
    ) -> Claim:
        """Take due jobs."""
        return await self._write(
            partial(operations.claim, worker=worker, limit=limit, now=now),
            Change.STATE,
            can_wait=can_wait,
        )

    async def finish(
        self, job: Job, transition: Transition, run: RunRecord, *, now: datetime
    ) -> Transition | None:
        """Record a finished run and move its job on; return the move that was made."""
        is_open = transition.state in {JobState.PENDING, JobState.FAILED}
        return await self._writer.submit_together(
            operations.finish,
            operations.End(job, transition, run, now),
            Change.WORK if is_open else Change.STATE,
            can_wait=True,
        )

    async def release(
        self,
        jobs: Sequence[Job],
        *,
        now: datetime,
        interrupted: bool = False,
        cancel_for: str | None = None,
    ) -> int:
        """Give back claimed jobs that were not started, or cancel them."""
        release = partial(
            operations.release,
            jobs=jobs,
            now=now,
            interrupted=interrupted,
            cancel_for=cancel_for,
        )
        return await self._write(release, Change.WORK)

    async def adopt(self, job: Job, worker: int, *, now: datetime) -> Job | None:
        """Move a run from the worker that has it to another."""
        return await self._write(
            partial(operations.adopt, job=job, worker=worker, now=now), Change.STATE
        )

    async def mark_stuck(self, job: Job, words: str, *, now: datetime) -> bool:
        """Say why a run is neither over nor adopted."""
        return await self._write(
            partial(operations.mark_stuck, job=job, words=words, now=now), Change.STATE
        )

    async def cancel(
        self, job_id: str, reason: str | None, *, now: datetime, seq: int | None = None
    ) -> Job:
        """Cancel a waiting job, or mark a running one."""
        return await self._write(
            partial(by_hand.cancel, job_id=job_id, reason=reason, now=now, seq=seq), Change.ORDERS
        )

    async def withdraw(self, job: Job, reason: str) -> None:
        """Mark a run to be cancelled, where it is not over."""
        await self._write_one("withdraw_job", Change.ORDERS, **fence_values(job), reason=reason)

    async def retry(
        self,
        job_ids: Sequence[str],
        allowed: frozenset[JobState],
        *,
        now: datetime,
        seqs: Mapping[str, int] | None = None,
    ) -> list[Job]:
        """Put jobs back to pending, all or none."""
        return await self._write(
            partial(by_hand.retry, job_ids=job_ids, allowed=allowed, now=now, seqs=seqs),
            Change.WORK,
        )

    async def retry_dead(
        self,
        *,
        now: datetime,
        reason: str | None = None,
        until: datetime | None = None,
        after: int = 0,
    ) -> Retried:
        """Put some of the dead jobs back to pending."""
        return await self._write(
            partial(by_hand.retry_dead, now=now, reason=reason, until=until, after=after),
            Change.WORK,
        )

    async def run_now(
        self, job_ids: Sequence[str], *, now: datetime, seqs: Mapping[str, int] | None = None
    ) -> list[Job]:
        """Let jobs that wait for a time to come run at once, all or none."""
        return await self._write(
            partial(by_hand.run_now, job_ids=job_ids, now=now, seqs=seqs), Change.WORK
        )

    async def delete(
        self, job_id: str, *, updated_at: datetime | None = None, seq: int | None = None
    ) -> Purged:
        """Delete a job with its runs and outputs."""
        return await self._write(
            partial(by_hand.delete, job_id=job_id, updated_at=updated_at, seq=seq), Change.STATE
        )

    async def purge(self, states: Sequence[JobState], *, until: datetime, after: int = 0) -> Purged:
        """Delete some old jobs."""
        return await self._write(
            partial(by_hand.purge, states=states, until=until, after=after), Change.STATE
        )

    async def prune(self, *, now: datetime, retention: timedelta | None) -> bool:
        """Take some of the events and figures that are too old away."""
        return await self._write(
            partial(upkeep.prune, now=now, retention=retention), Change(0), can_wait=True
        )

    async def purge_dead(
        self, *, reason: str | None = None, until: datetime | None = None, after: int = 0
    ) -> Purged:
        """Delete some dead jobs."""
        return await self._write(
            partial(by_hand.purge_dead, reason=reason, until=until, after=after), Change.STATE
        )

    async def register_worker(
        self,
        *,
        token: str,
        host: str,
        pid: int,
        boot_id: str,
        concurrency: int,
        now: datetime,
        pid_namespace: str,
        lock_file: str | None,
        pipe: str | None,
        can_restart: bool,
    ) -> int:
        """Add a worker; return its number."""
        row = await self._write_one(
            "register_worker",
            Change.STATE,
            token=token,
            host=host,
            pid=pid,
            boot_id=boot_id,
            pid_namespace=pid_namespace,
            lock_file=lock_file,
            pipe=pipe,
            can_restart=can_restart,
            concurrency=concurrency,
            started_at=to_ms(now),
        )
        return int(row[0])

    async def unregister_worker(self, worker: int) -> bool:
        """Remove a worker that holds no jobs."""

        def operation(connection: sqlite3.Connection) -> bool:
            return connection.execute(SQL["unregister_worker"], {"worker": worker}).rowcount == 1

        return await self._write(operation, Change.STATE)

    async def ask_to_stop(self, workers: Sequence[int], *, stop: StopOrder) -> None:
        """Ask workers to stop."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.executemany(
                SQL["ask_to_stop"], [{"worker": worker, "stop": stop.value} for worker in workers]
            )

        await self._write(operation, Change.ORDERS)

    async def ask_to_restart(self, workers: Sequence[int]) -> None:
        """Ask workers to leave their runs to a successor."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.executemany(
                SQL["ask_to_restart"], [{"worker": worker} for worker in workers]
            )

        await self._write(operation, Change.ORDERS)

    async def write_setting(self, key: str, value: str) -> None:
        """Set a config key."""
        await self._write_one("write_setting", Change.WORK, key=key, value=value)

    async def delete_setting(self, key: str) -> None:
        """Set a config key back to its default."""
        await self._write_one("delete_setting", Change.WORK, key=key)

    async def backup(self, target: str) -> None:
        """Write a copy of the database to a new file."""
        await self._writer.run_alone(partial(copy_database, target=Path(target)))

    async def vacuum(self) -> None:
        """Give unused space back to the file system."""

        def vacuum(connection: sqlite3.Connection) -> None:
            connection.execute("VACUUM")

        await self._writer.run_alone(vacuum)
        await self._writer.checkpoint()

    def _check_files(self) -> None:
        """Let what was read count only if it is what others find."""
        self._identity.check()

    async def _write(
        self,
        operation: Callable[[sqlite3.Connection], T],
        change: Change,
        *,
        can_wait: bool = False,
    ) -> T:
        return await self._writer.submit(operation, change, can_wait=can_wait)

    async def _write_one(self, name: str, change: Change, **values: Any) -> sqlite3.Row:
        def operation(connection: sqlite3.Connection) -> Any:
            return connection.execute(SQL[name], values).fetchone()

        return await self._write(operation, change)


async def _open_guard(path: Path) -> ThreadConnection | None:
    """Open the files that have the names now; None where there are none that can be read."""
    guard = connect(path, reader=True, mode="ro")

    try:
        await guard.open()
        await guard.run(lambda opened: opened.execute("PRAGMA user_version").fetchone())
    except (sqlite3.Error, OSError):
        if guard.opened is not None:
            await guard.close()

        return None

    return guard


def _may_be_lost(identity: FileIdentity) -> bool:
    try:
        return identity.is_lost()
    except OSError:
        # The system refuses the look, so they may be another's.
        return True


def _identify(path: Path, connection: sqlite3.Connection) -> FileIdentity:
    # The first look into the database makes the log.
    connection.execute("PRAGMA user_version").fetchone()
    return FileIdentity(path)
