"""
The one writer: many operations, one transaction, one fsync.

What waits is put into one transaction, and the callers are answered after its
commit. So a cancelled caller never leaves a transaction open, operations share
the price of the disk, and the throughput grows with the load. What can wait is
kept for a few milliseconds after a commit, for more to come along.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import msgspec

from queuectl.engine.errors import EngineClosedError, StoreError
from queuectl.engine.store.base import Change
from queuectl.engine.store.sqlite.checkpoint import Checkpointer
from queuectl.engine.store.sqlite.connection import ThreadConnection, error_kind, name_error
from queuectl.engine.store.sqlite.identity import FileIdentity

T = TypeVar("T")
V = TypeVar("V")

_log = logging.getLogger(__name__)
_Function = Callable[[sqlite3.Connection], T]
_Together = Callable[[sqlite3.Connection, Sequence[V]], Sequence[T]]

# The most operations that share one transaction.
LARGEST_BATCH: Final = 256

# For how long after the begin of a commit what can wait does not bring about the
# next, in seconds. Short jobs end about every millisecond, and a commit costs one.
COMMIT_WINDOW: Final = 0.01


class _Operation(msgspec.Struct, frozen=True):
    """
    A function over the connection, and who waits for its result.

    Attributes:
        values: For a function that takes several values at once and returns as
            many results: the one of this operation. None for another.
    """

    function: Callable[..., Any]
    change: Change
    future: "asyncio.Future[Any]"
    values: list[Any] | None = None


class _Failure(msgspec.Struct, frozen=True):
    """The error of one operation in a batch whose others went well."""

    error: Exception


class Writer:
    """
    Feeds the connection that writes.

    Args:
        connection: Open; the writer is its only user.
        path: The file.
        identity: Checked before anything is acknowledged.
        checkpointer: Kept away while a transaction is made.
    """

    def __init__(
        self,
        connection: ThreadConnection,
        path: Path,
        *,
        identity: FileIdentity,
        checkpointer: Checkpointer,
    ) -> None:
        self._connection = connection
        self._path = path
        self._identity = identity
        self._waiting: deque[_Operation] = deque()
        self._is_due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        # The loop's time; from then on nothing waits for more.
        self._window_ends = 0.0
        self._closed = False
        self._finished = asyncio.Event()
        self._listeners: list[Callable[[Change], None]] = []
        self._checkpointer = checkpointer

    def on_commit(self, listener: Callable[[Change], None]) -> None:
        """Call this after each commit that changed something."""
        self._listeners.append(listener)

    async def submit(self, function: _Function[T], change: Change, *, can_wait: bool = False) -> T:
        """
        Run a function inside a transaction; return when that is on the disk.

        The function may be called twice, the first time in a transaction that
        is rolled back. Where the caller is cancelled, it runs all the same.

        Args:
            function: Only reads and writes through the connection it is given.
            change: What it changes, where it changes anything.
            can_wait: Whether it may wait a few milliseconds for others, because
                nobody waits for its result who has nothing else to do.

        Raises:
            EngineClosedError: The writer is closed.
            StoreError: The database failed; nothing was changed.
        """
        result: T = await self._queue(function, change, None, can_wait=can_wait)
        return result

    async def submit_together(
        self, function: _Together[V, T], value: V, change: Change, *, can_wait: bool = False
    ) -> T:
        """
        Run a function with a value, and with those that others submit beside it.

        As `submit`; one statement for many rows costs a fraction of many statements,
        and the loop's thread gets the interpreter back once and not for each.

        Args:
            function: Takes values, and returns a result for each, in their order.
            value: One of them.
            change: What it changes, where it changes anything.
            can_wait: As for `submit`.
        """
        result: T = await self._queue(function, change, [value], can_wait=can_wait)
        return result

    def _queue(
        self,
        function: Callable[..., Any],
        change: Change,
        values: list[Any] | None,
        *,
        can_wait: bool,
    ) -> "asyncio.Future[Any]":
        if self._closed:
            raise EngineClosedError

        loop = asyncio.get_running_loop()
        operation = _Operation(function, change, loop.create_future(), values)
        self._waiting.append(operation)

        if not can_wait or len(self._waiting) >= LARGEST_BATCH:
            self._is_due.set()
        elif self._timer is None:
            self._timer = loop.call_at(self._window_ends, self._is_due.set)

        return operation.future

    async def serve(self) -> None:
        """
        Answer operations until `close` is called and none is left.

        A cancellation from outside does not reach it: those who end work in
        order then still need their results recorded.
        """
        try:
            with anyio.CancelScope(shield=True):
                await self._serve()
        finally:
            # asyncio's own cancellations pass the shield, as at the end of a loop.
            self._closed = True
            self._stop_timer()
            self._fail(list(self._waiting), EngineClosedError())
            self._waiting.clear()
            self._finished.set()

    async def _serve(self) -> None:
        while self._waiting or not self._closed:
            await self._is_due.wait()
            self._is_due.clear()
            self._stop_timer()

            if self._waiting:
                await self._commit_some()

    async def _commit_some(self) -> None:
        size = min(len(self._waiting), LARGEST_BATCH)
        batch = [self._waiting.popleft() for _ in range(size)]

        if self._waiting:
            self._is_due.set()

        self._window_ends = asyncio.get_running_loop().time() + COMMIT_WINDOW

        try:
            await self._commit(batch)
        except BaseException:
            self._fail(batch, EngineClosedError())
            raise

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def close(self) -> None:
        """Take no more operations; return when the last is answered."""
        self._closed = True
        self._is_due.set()
        await self._finished.wait()

    async def checkpoint(self) -> None:
        """Move the log into the database, where that works; what was acknowledged is safe."""
        try:
            await self._connection.run(self._checkpointer.run)
        except (sqlite3.Error, OSError) as error:
            _log.info("cannot checkpoint %s: %s", self._path, error)

    async def run_alone(self, function: _Function[T]) -> T:
        """Run a function outside any transaction, as VACUUM needs it."""

        def run(connection: sqlite3.Connection) -> T:
            with self._checkpointer.committing():
                self._identity.check()
                return function(connection)

        try:
            return await self._connection.run(run)
        except sqlite3.Error as error:
            raise name_error(error, self._path) from error

    async def _commit(self, batch: list[_Operation]) -> None:
        try:
            results, changed = await self._connection.run(partial(self._run, batch))
        except sqlite3.Error as error:
            self._fail(batch, name_error(error, self._path))

            if error_kind(error) == sqlite3.SQLITE_FULL:
                # What was rolled back still fills the log, and so the disk.
                await self.checkpoint()
        except OSError as error:
            problem = f"cannot lock the database for a commit ({error.strerror})"
            self._fail(batch, StoreError(self._path, problem))
        except Exception as error:  # noqa: BLE001 (handed to everyone who waits)
            self._fail(batch, error)
        else:
            self._answer(batch, results)

            if changed:
                self._tell(batch)

                if self._checkpointer.is_due():
                    await self.checkpoint()

    def _run(
        self, batch: list[_Operation], connection: sqlite3.Connection
    ) -> tuple[list[Any], bool]:
        """Run a batch in the connection's thread; see `_run_batch`."""
        with self._checkpointer.committing():
            # Before: what others wrote into new files must not be written over.
            self._identity.check()
            results = _run_batch(batch, connection)

        # And after: what was written must be found by others.
        self._identity.check_written()
        return results

    def _answer(self, batch: list[_Operation], results: list[Any]) -> None:
        for operation, result in zip(batch, results, strict=True):
            if operation.future.done():
                continue

            if isinstance(result, _Failure):
                error = result.error
                named = name_error(error, self._path) if isinstance(error, sqlite3.Error) else error
                operation.future.set_exception(named)
            else:
                operation.future.set_result(result)

    def _fail(self, batch: list[_Operation], error: Exception) -> None:
        for operation in batch:
            if not operation.future.done():
                operation.future.set_exception(error)

    def _tell(self, batch: list[_Operation]) -> None:
        change = Change(0)

        for operation in batch:
            change |= operation.change

        # What only takes away is nobody's news.
        if change:
            for listener in self._listeners:
                listener(change)


def _run_batch(batch: list[_Operation], connection: sqlite3.Connection) -> tuple[list[Any], bool]:
    """
    Run operations in one transaction, in the connection's thread.

    They are run without savepoints first, for that is the rule; where one of
    them fails, all are run again, each within a savepoint of its own.

    Returns:
        The results, and whether anything was changed.
    """
    before = connection.total_changes
    try:
        results = _transaction(connection, batch, _run_plain)
    except sqlite3.OperationalError:
        raise
    except Exception:  # noqa: BLE001 (the second round tells whose it is)
        results = _transaction(connection, batch, _run_isolated)

    return results, connection.total_changes > before


def _transaction(
    connection: sqlite3.Connection,
    batch: list[_Operation],
    run: Callable[[sqlite3.Connection, list[_Operation]], list[Any]],
) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = run(connection, batch)
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk SQLite may have rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

    return results


def _run_plain(connection: sqlite3.Connection, batch: list[_Operation]) -> list[Any]:
    results: list[Any] = []

    for function, group in groupby(batch, key=lambda operation: operation.function):
        for values in _joined(group):
            results += [function(connection)] if values is None else function(connection, values)

    return results


def _joined(group: Iterable[_Operation]) -> list[list[Any] | None]:
    """Return the values of operations of one function: all in one list, or None for each."""
    each = [operation.values for operation in group]
    values = [value for given in each if given is not None for value in given]
    return [values] if values else each


def _run_isolated(connection: sqlite3.Connection, batch: list[_Operation]) -> list[Any]:
    return [_run_one(connection, operation) for operation in batch]


def _run_one(connection: sqlite3.Connection, operation: _Operation) -> Any:
    connection.execute("SAVEPOINT operation")
    try:
        [result] = _run_plain(connection, [operation])
    except sqlite3.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 (handed to the one who waits)
        connection.execute("ROLLBACK TO operation")
        result = _Failure(error)

    connection.execute("RELEASE operation")
    return result
