"""The engines of a run: a few places, each with an engine that is replaced when it ends."""

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio

from tests.chaos.logbook import Logbook
from tests.chaos.nursery import Child, Nursery
from tests.chaos.plan import Plan

# Told to stop by an operator or the nemesis; anything else is a failure.
_ASKED_FOR: Final = frozenset({0, -signal.SIGKILL})


class Fleet:
    """
    Keeps engines alive.

    Args:
        plan: How many, and how long to wait before one is replaced.
        nursery: Starts them.
        database: The database.
        grace: Seconds between TERM and KILL, of those that can be told.
        defect: What to plant into them; empty for nothing.
        log: Told of starts and of times without any engine.
    """

    def __init__(
        self,
        plan: Plan,
        nursery: Nursery,
        database: Path,
        *,
        grace: float,
        log: Logbook,
        defect: str = "",
    ) -> None:
        self._plan = plan
        self._nursery = nursery
        self._database = database
        self._grace = grace
        self._log = log
        self._defect = defect
        self._numbers: Iterator[int] = itertools.count()
        self._engines: list[Child | None] = [None] * plan.size.engines
        self._is_closing = False
        self._bare_since: float | None = None
        self.failures: list[str] = []
        # On a full disk an engine may find that it cannot start.
        self.may_fail = False

    @property
    def alive(self) -> list[Child]:
        """The engines that live now."""
        return [engine for engine in self._engines if engine is not None and engine.is_alive]

    async def keep(self, place: int) -> None:
        """Keep an engine in a place, until the fleet is closed."""
        while not self._is_closing:
            number = next(self._numbers)
            self._note_start()
            engine = await self._start(number)
            self._engines[place] = engine
            await engine.ended.wait()
            self._note_end(engine)
            pauses = self._plan.pauses
            await anyio.sleep(pauses[number % len(pauses)])

    def close(self) -> None:
        """Replace no engine any more."""
        self._is_closing = True

    async def until_ended(self) -> None:
        """Return when no engine lives."""
        for engine in self._engines:
            if engine is not None:
                await engine.ended.wait()

    async def _start(self, number: int) -> Child:
        share = self._plan.size.command_share
        slots = self._plan.size.slots

        if share and number % share == share - 1:
            return await self._nursery.command(
                "--db", str(self._database), "worker", "start", "--count", str(slots), "--quiet"
            )

        return await self._nursery.start(
            "work",
            database=str(self._database),
            slots=slots,
            grace=self._grace,
            defect=self._defect,
        )

    def _note_start(self) -> None:
        start = self._log.write("start_engine")

        if self._bare_since is not None:
            self._log.write("no_engine", at=self._bare_since, until=start.at)
            self._bare_since = None

    def _note_end(self, engine: Child) -> None:
        if not self.alive:
            self._bare_since = self._log.write("last_engine_ended").at

        if engine.code not in _ASKED_FOR and not self.may_fail:
            self.failures.append(f"exit code {engine.code}; {engine.last_words()}")
