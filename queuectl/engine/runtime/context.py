"""Makes an engine a context, and has what works on its database while that is open."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from queuectl.engine.errors import EngineClosedError
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.engine_life import EngineLife
from queuectl.engine.runtime.folder import make_private
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.waiting import Waiting
from queuectl.engine.store.base import JobStore

if TYPE_CHECKING:
    # Most programs only add jobs, and are to start fast.
    from queuectl.engine.runtime.output import OutputReader
    from queuectl.engine.runtime.roster import Roster
    from queuectl.engine.runtime.runner import Runner
    from queuectl.engine.runtime.tracing import Tracing


class EngineContext:
    """
    The part of an engine that makes it an asynchronous context.

    Args:
        path: The database, without links.
        makes_folder: Whether its folder is made where there is none.
        clock: Tells the time.
        runner: Starts processes; None for the real ones.
        grace: Seconds between TERM and KILL.
        tracing: Traces runs; None where nobody does.
    """

    def __init__(
        self,
        path: Path,
        *,
        makes_folder: bool,
        clock: Clock,
        runner: "Runner | None",
        grace: float,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._path = path
        self._makes_folder = makes_folder
        self._clock = clock
        self._runner = runner
        self._grace = grace
        self._tracing = tracing
        self._entered: EngineLife | None = None

    async def __aenter__(self) -> Self:
        """Open the database."""
        if self._entered is not None:
            msg = "the engine is open already"
            raise RuntimeError(msg)

        if self._makes_folder:
            await in_thread(make_private, self._path.parent)

        self._entered = EngineLife(
            self._path,
            clock=self._clock,
            runner=self._runner,
            grace=self._grace,
            tracing=self._tracing,
        )

        try:
            await self._entered.open()
        except BaseException:
            self._entered = None
            raise

        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the workers and close the database."""
        life, self._entered = self._life, None
        await life.close()

    @property
    def _life(self) -> EngineLife:
        if self._entered is None:
            raise EngineClosedError

        return self._entered

    @property
    def _store(self) -> JobStore:
        life = self._life
        life.check()
        return life.store

    @property
    def _outputs(self) -> "OutputReader":
        from queuectl.engine.runtime.output import OutputReader

        life = self._life
        return OutputReader(self._store, life.folder, life.bus)

    @property
    def _waiting(self) -> Waiting:
        life = self._life
        return Waiting(self._store, life.bus, life.check)

    @property
    def _roster(self) -> "Roster":
        from queuectl.engine.runtime.roster import Roster

        life = self._life
        return Roster(self._store, life.folder, life.bus)
