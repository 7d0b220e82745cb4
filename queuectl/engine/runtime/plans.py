"""What a worker works with, what it is to be, and how far its end has come."""

from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from queuectl.engine.runtime.bus import Bus
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.store.base import JobStore

if TYPE_CHECKING:
    # It imports OpenTelemetry, which only those have who trace.
    from queuectl.engine.runtime.tracing import Tracing


class Stop(IntEnum):
    """How far a worker's end has come; it only rises."""

    NOT = 0
    DRAIN = 1
    NOW = 2
    # Leave what runs to a successor.
    LEAVE = 3


class EngineParts(msgspec.Struct, frozen=True, kw_only=True):
    """
    What every worker of an engine shares.

    Attributes:
        grace: Seconds between TERM and KILL.
        tracing: Traces runs; None where nobody does.
    """

    store: JobStore
    clock: Clock
    bus: Bus
    folder: StateFolder
    grace: float
    tracing: "Tracing | None" = None


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a worker is to be.

    Attributes:
        concurrency: Its slots, 1 or more.
        until_settled: Whether it stops by itself when the queue is settled.
        can_restart: Whether its process can replace itself.
        recovers: Whether it looks after what dead workers left.
        gives_back: Whether others may have what it does not come to the end of; else
            that is cancelled.
    """

    concurrency: int
    until_settled: bool = False
    can_restart: bool = False
    recovers: bool = True
    gives_back: bool = True
