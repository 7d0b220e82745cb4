"""The figures of a queue in the text format of Prometheus, read when they are asked for."""

import asyncio
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Metric,
    generate_latest,
)
from prometheus_client.registry import Collector

from queuectl import QueueEngine, __version__
from queuectl.metrics.families import Figures, families

# What every Prometheus since 0.4 reads.
CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class FiguresCollector(Collector):
    """
    Collects what was read for one answer.

    Args:
        found: The metrics with their samples.
    """

    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Sequence[Metric]:
        """Return the metrics with their samples."""
        return self._found


async def render(engine: QueueEngine) -> bytes:
    """
    Return the figures of a queue in the text format of Prometheus, version 0.0.4.

    They are those of the whole database, whichever process is asked. It is read from
    counters, so it takes as long with a million jobs as with none; only what webhooks
    are still to be told, or never could be, is counted. Nothing is kept in this process,
    and nothing is registered in prometheus-client's global registry.

    Args:
        engine: Open.

    Returns:
        UTF-8, to be sent as `CONTENT_TYPE`.

    Raises:
        StoreError: The database cannot be read.
    """
    registry = CollectorRegistry()
    registry.register(FiguresCollector(list(families(await _read(engine)))))
    return generate_latest(registry)


async def _read(engine: QueueEngine) -> Figures:
    database_bytes, wal_bytes = await asyncio.to_thread(_sizes, engine.database)

    return Figures(
        stats=await engine.stats(),
        totals=await engine.totals(),
        webhooks=await engine.webhooks.list(),
        database_bytes=database_bytes,
        wal_bytes=wal_bytes,
        version=__version__,
        python_version=platform.python_version(),
    )


def _sizes(database: Path) -> tuple[int, int]:
    """
    Return the sizes of the database's file and of its write-ahead log, in bytes.

    Not by `QueueEngine.database_info`, which counts the events one by one and looks at
    every large output: too much for each quarter of a minute.
    """
    return _size(database), _size(database.with_name(f"{database.name}-wal"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        # There is no log before the first change. A database that is gone is told of
        # by whoever reads it.
        return 0
