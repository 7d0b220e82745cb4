"""The figures of a long life, and whether they are flat."""

import statistics
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tests.chaos.soak_look import Look

# The share of the samples that belongs to the warm-up: SQLite fills its cache of 2 MB.
_WARM_SHARE: Final = 0.1

# How much may be there at the end beyond what was there at the beginning.
_RSS_KIB: Final = 2048
# Under load each slot, and each result that waits for its commit, has files open.
_DESCRIPTORS: Final = 10
_THREADS: Final = 1

# The log is cut at 4 MiB, by the next commit, unless somebody reads.
LARGEST_WAL: Final = 8 * 1024 * 1024

# Rates and latencies feel the neighbours on the machine.
_RATE: Final = 0.7
_PICKUP: Final = 1.5
_PICKUP_MS: Final = 20.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was seen of the queue.

    Attributes:
        jobs: How many have ended.
        waiting: How many wait.
        seconds: Since the beginning.
        pickups: Seconds from an acknowledgement to the start, each.
    """

    jobs: int
    waiting: int
    seconds: float
    pickups: Sequence[float]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """
    A worker and its queue at a moment.

    Attributes:
        jobs: How many have ended until then.
        seconds: Since the beginning.
        jobs_per_second: Since the last sample.
        waiting: Jobs that wait.
        rss_kib: Memory, resident.
        descriptors: Open files; the least of a few looks, as the next two.
        threads: Threads of the process.
        children: Processes that it has not waited for; some are running jobs.
        wal_bytes: The size of the write-ahead log.
        pickups: How many jobs that go first have started since the last sample.
        pickup_ms: From the acknowledgement of such a job to its start, the median in
            milliseconds; None where there was none.
        pickup_worst_ms: The longest.
    """

    jobs: int
    seconds: float
    jobs_per_second: float
    waiting: int
    rss_kib: int
    descriptors: int
    threads: int
    children: int
    wal_bytes: int
    pickups: int
    pickup_ms: float | None
    pickup_worst_ms: float | None

    @classmethod
    def make(cls, look: Look, seen: Seen, *, since: tuple[int, float], wal_bytes: int) -> "Sample":
        """
        Put together what was seen.

        Args:
            look: The worker.
            seen: The queue.
            since: Jobs and seconds of the last sample.
            wal_bytes: The size of the write-ahead log.
        """
        jobs, seconds = since
        return cls(
            jobs=seen.jobs,
            seconds=round(seen.seconds, 2),
            jobs_per_second=round((seen.jobs - jobs) / (seen.seconds - seconds), 1),
            waiting=seen.waiting,
            rss_kib=look.rss_kib,
            descriptors=look.descriptors,
            threads=look.threads,
            children=look.children,
            wal_bytes=wal_bytes,
            pickups=len(seen.pickups),
            pickup_ms=_milliseconds(statistics.median, seen.pickups),
            pickup_worst_ms=_milliseconds(max, seen.pickups),
        )


class Flat(msgspec.Struct, frozen=True, kw_only=True):
    """
    A figure at the beginning and at the end of a long life.

    Attributes:
        what: The figure, with its unit.
        first: The median of the first fifth after the warm-up.
        last: The median of the last fifth.
        limit: How far the last may go.
        is_flat: Whether it is within that.
    """

    what: str
    first: float
    last: float
    limit: float
    is_flat: bool

    def words(self) -> str:
        """Say it in a line."""
        verdict = "flat" if self.is_flat else "NOT flat"
        return (
            f"{verdict}: {self.what}: {self.first:,.1f}, at the end {self.last:,.1f}"
            f" (limit {self.limit:,.1f})"
        )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was measured, and how the jobs ended.

    Attributes:
        samples: While jobs were always waiting.
        rested: Two, of moments when nothing ran: after the first jobs and after the last.
        flat: Whether anything grew.
        jobs: How many jobs of the mix were added.
        probes: How many jobs that go first were added.
        completed: Jobs in this state at the end, of both kinds.
        dead: Jobs in this state at the end.
        output_files: Outputs too large for a row.
        run_files: Files of the worker's slots, at the end.
    """

    samples: list[Sample]
    rested: list[Sample]
    flat: list[Flat]
    jobs: int
    probes: int
    completed: int
    dead: int
    output_files: int
    run_files: int


def find_flats(samples: Sequence[Sample], rested: Sequence[Sample]) -> list[Flat]:
    """
    Compare the first fifth of the samples, after a warm-up, with the last.

    Args:
        samples: While jobs were waiting; may be empty.
        rested: Two, of moments when nothing ran.
    """
    first, last = rested
    flats = [
        _at_most("descriptors at rest", first.descriptors, last.descriptors, first.descriptors),
        _at_most("threads at rest", first.threads, last.threads, first.threads),
        _at_most("children at rest", first.children, last.children, 0),
    ]

    if not samples:
        return flats

    def ends(figure: Callable[[Sample], float | None]) -> tuple[float, float]:
        values = [value for sample in samples if (value := figure(sample)) is not None]
        return _ends(values)

    rss = ends(lambda sample: sample.rss_kib)
    files = ends(lambda sample: sample.descriptors)
    threads = ends(lambda sample: sample.threads)
    rate = ends(lambda sample: sample.jobs_per_second)
    pickup = ends(lambda sample: sample.pickup_ms)
    _, wal = ends(lambda sample: sample.wal_bytes)
    return [
        *flats,
        _at_most("memory, KiB resident", *rss, rss[0] + _RSS_KIB),
        _at_most("descriptors", *files, files[0] + _DESCRIPTORS),
        _at_most("threads", *threads, threads[0] + _THREADS),
        _at_most(
            "write-ahead log, bytes", ends(lambda sample: sample.wal_bytes)[0], wal, LARGEST_WAL
        ),
        _at_most("pickup under load, ms", *pickup, _PICKUP * pickup[0] + _PICKUP_MS),
        _at_least("jobs per second", *rate, _RATE * rate[0]),
    ]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the first fifth after the warm-up and of the last; 0 for none."""
    if not values:
        return 0.0, 0.0

    warm = values[int(len(values) * _WARM_SHARE) :]
    fifth = max(1, len(warm) // 5)
    return statistics.median(warm[:fifth]), statistics.median(warm[-fifth:])


def _at_most(what: str, first: float, last: float, limit: float) -> Flat:
    return Flat(what=what, first=first, last=last, limit=limit, is_flat=last <= limit)


def _at_least(what: str, first: float, last: float, limit: float) -> Flat:
    return Flat(what=what, first=first, last=last, limit=limit, is_flat=last >= limit)


def _milliseconds(
    which: Callable[[Sequence[float]], float], seconds: Sequence[float]
) -> float | None:
    return round(1000 * which(seconds), 2) if seconds else None
