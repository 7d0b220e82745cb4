"""What Prometheus is told, by which names: figures to metrics, without I/O."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec
from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from queuectl import BOUNDS, Classes, QueueStats, Totals, Webhook, WorkerInfo, WorkerState

# Three bounds a decade, from 1 ms to 100,000 s, more than a day: a time is known within a
# factor of 2.5, with a third of the series that the engine's own classes would make.
_STEPS: Final = (1, 2.5, 5)
_LAST_MS: Final = 100_000_000.0
_BOUNDS_MS: Final = tuple(
    step * 10.0**decade for decade in range(9) for step in _STEPS if step * 10.0**decade <= _LAST_MS
)

# The place of each among the engine's classes, by the bound in seconds as it is written.
# One that is no bound of theirs would fail right here.
_PLACES: Final[Mapping[str, int]] = {str(bound / 1000): BOUNDS.index(bound) for bound in _BOUNDS_MS}


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was read for one answer.

    Attributes:
        stats: The queue as it is.
        totals: What happened since the database was made.
        webhooks: All of them, with how much they are still to be told.
        database_bytes: The size of the database's file.
        wal_bytes: The size of its write-ahead log.
        version: Of queuectl.
        python_version: Of the process that answers.
    """

    stats: QueueStats
    totals: Totals
    webhooks: Sequence[Webhook]
    database_bytes: int
    wal_bytes: int
    version: str
    python_version: str


def families(figures: Figures) -> Iterator[Metric]:
    """
    Yield every metric with its samples.

    Labels have a few fixed values each: never an id, a tag or a command, of which there
    are any number, and which are nobody's business but the queue's.
    """
    yield from _jobs(figures.stats)
    yield from _ended(figures.totals)
    yield from _times(figures.totals)
    yield from _workers(figures.stats.workers)
    yield _deliveries(figures.webhooks)
    yield from _database(figures)


def _jobs(stats: QueueStats) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("queuectl_jobs", "Jobs in the database, by state.", labels=["state"])

    for state, count in stats.counts.items():
        jobs.add_metric([state.value], count)

    yield jobs
    oldest = stats.oldest_pending or timedelta()
    yield GaugeMetricFamily(
        "queuectl_queue_oldest_age_seconds",
        "How long the oldest job that is due has waited to be run; 0 where none is due.",
        oldest.total_seconds(),
    )


def _ended(totals: Totals) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "queuectl_jobs_enqueued_total", "Jobs that were added.", totals.enqueued
    )
    finished = CounterMetricFamily(
        "queuectl_jobs_finished_total",
        "Runs of jobs that ended, by how; a job that is retried has several.",
        labels=["outcome"],
    )

    for outcome, classes in totals.runs.items():
        finished.add_metric([outcome.value], classes.count)

    yield finished
    yield CounterMetricFamily(
        "queuectl_jobs_dead_total", "Jobs that went to the dead letter queue.", totals.died
    )
    yield CounterMetricFamily(
        "queuectl_job_retries_total",
        "Retries: runs that failed and left their job one, and jobs put back by hand.",
        totals.rescheduled + totals.retried,
    )


def _times(totals: Totals) -> Iterator[Metric]:
    duration = HistogramMetricFamily(
        "queuectl_job_duration_seconds",
        "How long runs took, from start to end, by how they ended.",
        labels=["outcome"],
    )

    for outcome, classes in totals.runs.items():
        duration.add_metric([outcome.value], _buckets(classes), classes.seconds)

    yield duration
    yield HistogramMetricFamily(
        "queuectl_job_wait_seconds",
        "How long runs that ended had waited to start since their job was due.",
        buckets=_buckets(totals.wait),
        sum_value=totals.wait.seconds,
    )


def _buckets(classes: Classes) -> list[tuple[str, float]]:
    """Return how many took at most so many seconds, as Prometheus adds them up."""
    return [
        *((bound, classes.by_bound[place]) for bound, place in _PLACES.items()),
        ("+Inf", classes.count),
    ]


def _workers(workers: tuple[WorkerInfo, ...]) -> Iterator[Metric]:
    by_state = GaugeMetricFamily(
        "queuectl_workers",
        "Workers of all processes, by state; dead ones have left jobs behind.",
        labels=["state"],
    )

    for state in WorkerState:
        by_state.add_metric([state.value], sum(worker.state is state for worker in workers))

    yield by_state
    alive = [worker for worker in workers if worker.is_alive]
    yield GaugeMetricFamily(
        "queuectl_worker_slots",
        "How many jobs the workers that are alive can run at once.",
        sum(worker.concurrency for worker in alive),
    )
    yield GaugeMetricFamily(
        "queuectl_worker_busy_slots",
        "How many jobs the workers that are alive run now.",
        sum(worker.busy for worker in alive),
    )


def _deliveries(webhooks: Sequence[Webhook]) -> Metric:
    deliveries = GaugeMetricFamily(
        "queuectl_webhook_deliveries",
        "What webhooks are still to be told, waiting, and what was given up, dead.",
        labels=["state"],
    )
    deliveries.add_metric(["waiting"], sum(webhook.waiting for webhook in webhooks))
    deliveries.add_metric(["dead"], sum(webhook.dead for webhook in webhooks))
    return deliveries


def _database(figures: Figures) -> Iterator[Metric]:
    size = GaugeMetricFamily(
        "queuectl_database_size_bytes",
        "Sizes of the database's files: of the main one, and of the write-ahead log.",
        labels=["file"],
    )
    size.add_metric(["main"], figures.database_bytes)
    size.add_metric(["wal"], figures.wal_bytes)
    yield size
    yield InfoMetricFamily(
        "queuectl_build",
        "The program that answers.",
        {"version": figures.version, "python_version": figures.python_version},
    )
