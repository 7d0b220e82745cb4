"""
A span for each attempt, by OpenTelemetry, and the trace context on its way through a job.

Imported only where a tracer was given: whoever traces has imported OpenTelemetry.
"""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from queuectl.engine.domain.activity import FAILURES
from queuectl.engine.domain.durations import format_time
from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.lifecycle import Outcome, Transition
from queuectl.engine.domain.models import Job, NewJob
from queuectl.engine.domain.states import WAITING
from queuectl.engine.runtime.reporting import reported

# As the specification "Environment Variables as Context Propagation Carriers" names them.
TRACE_VARIABLES: Final = ("TRACEPARENT", "TRACESTATE")

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class AttemptSpan:
    """
    The span of one attempt. What goes wrong with it is logged, and costs the attempt nothing.

    Args:
        span: Begun.
        job: As claimed.
    """

    def __init__(self, span: Span, job: Job) -> None:
        self._span = span
        self._job = job

    def variables(self) -> dict[str, str]:
        """Return the environment variables by which the attempt's programs go on with it."""
        return _variables(set_span_in_context(self._span, Context()))

    def end(self, outcome: Outcome, transition: Transition, at: datetime) -> None:
        """
        End the span.

        Args:
            outcome: How the attempt ended.
            transition: What became of the job.
            at: When it ended, in UTC.
        """
        with reported(f"job {self._job.id}: cannot trace how its run ended"):
            self._span.set_attributes(_outcome_attributes(outcome))

            if outcome.kind in FAILURES:
                self._span.set_status(StatusCode.ERROR, outcome.reason)

            self._tell(transition.event, at, _transition_attributes(transition))
            self._span.end(_nanoseconds(at))

    def leave(self, at: datetime) -> None:
        """End the span, where it has not ended: how the attempt ends is somebody else's to tell."""
        with reported(f"job {self._job.id}: cannot trace that its run was left"):
            if self._span.is_recording():
                self._span.add_event("queuectl.run.left", timestamp=_nanoseconds(at))
                self._span.end(_nanoseconds(at))

    def tell_adopted(self, at: datetime) -> None:
        """Note when the attempt came to its present worker."""
        with reported(f"job {self._job.id}: cannot trace that its run was adopted"):
            self._tell(EventKind.ADOPTED, at, {})

    def _tell(self, event: EventKind, at: datetime, attributes: Mapping[str, str]) -> None:
        self._span.add_event(f"queuectl.job.{event}", attributes, timestamp=_nanoseconds(at))


class Tracing:
    """
    Traces the attempts of one database's jobs.

    Args:
        tracer: Makes the spans.
        database: The database; its name without folders is the destination's.
    """

    def __init__(self, tracer: Tracer, database: Path) -> None:
        self._tracer = tracer
        self._destination = database.name

    def begin(self, job: Job, started_at: datetime, *, environ: bytes = b"") -> AttemptSpan | None:
        """
        Begin the span of an attempt, linked to where its job was enqueued.

        It is the root of a trace of its own: a job may run days after it was enqueued, and
        several times.

        Args:
            job: As claimed.
            started_at: When the attempt started, in UTC.
            environ: What the attempt's programs were given, as `first_environ` returns
                it, where another worker has started them: then it goes on with the
                trace that they know.

        Returns:
            None where it could not be begun, which is logged.
        """
        begun: AttemptSpan | None = None

        with reported(f"job {job.id}: cannot trace its run"):
            enqueued = _span_context(job.env)
            given = _variables_in(environ)
            # Their worker did not trace them where they were given what the job brings.
            goes_on = _span_context(given).span_id != enqueued.span_id
            span = self._tracer.start_span(
                "queuectl.run",
                context=_extract(given if goes_on else {}),
                kind=SpanKind.CONSUMER,
                attributes=self._attributes(job),
                links=[Link(enqueued)] if enqueued.is_valid else [],
                start_time=_nanoseconds(started_at),
            )
            begun = AttemptSpan(span, job)

        return begun  # noqa: RET504 (None where that was reported)

    def _attributes(self, job: Job) -> dict[str, str | int | tuple[str, ...]]:
        """Name the attempt, by OpenTelemetry's conventions for messaging; not its command."""
        return {
            "messaging.system": "queuectl",
            "messaging.destination.name": self._destination,
            "messaging.operation.name": "run",
            "messaging.operation.type": "process",
            "messaging.message.id": job.id,
            "messaging.client.id": job.worker or "",
            "queuectl.job.attempt": job.run_count,
            "queuectl.job.tags": job.tags,
        }


def current_variables() -> dict[str, str]:
    """
    Return the trace context of whoever enqueues, as variables; none where there is none.

    It is that of the current span, else the one that this program was started in.
    """
    if get_current_span().get_span_context().is_valid:
        return _variables(None)

    return _variables(_extract(os.environ))


def with_trace(jobs: Iterable[NewJob], variables: Mapping[str, str]) -> list[NewJob]:
    """Return jobs with a trace context in their environments; those that bring one keep that."""
    return [
        job
        if not job.env.keys().isdisjoint(TRACE_VARIABLES)
        else msgspec.structs.replace(job, env={**variables, **job.env})
        for job in jobs
    ]


def _variables(context: Context | None) -> dict[str, str]:
    """Return a trace context as variables; None for the current one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return {name: carrier[name.lower()] for name in TRACE_VARIABLES if name.lower() in carrier}


def _variables_in(environ: bytes) -> dict[str, str]:
    """Return the variables of a trace context that are in an environment."""
    pairs = (pair.partition(b"=") for pair in environ.split(b"\0"))
    values = {name.decode(errors="replace"): value for name, _, value in pairs}
    return {
        name: values[name].decode(errors="replace") for name in TRACE_VARIABLES if name in values
    }


def _extract(variables: Mapping[str, str]) -> Context:
    carrier = {name.lower(): variables[name] for name in TRACE_VARIABLES if name in variables}
    return _PROPAGATOR.extract(carrier, Context())


def _span_context(variables: Mapping[str, str]) -> SpanContext:
    return get_current_span(_extract(variables)).get_span_context()


def _outcome_attributes(outcome: Outcome) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {"queuectl.run.outcome": outcome.kind.value}

    if outcome.exit_code is not None:
        attributes["process.exit.code"] = outcome.exit_code

    if outcome.signal is not None:
        attributes["queuectl.run.signal"] = outcome.signal

    if outcome.kind in FAILURES:
        attributes["error.type"] = outcome.kind.value

    return attributes


def _transition_attributes(transition: Transition) -> dict[str, str]:
    attributes = {"queuectl.job.state": transition.state.value}

    if transition.reason:
        attributes["queuectl.job.reason"] = transition.reason

    if transition.state in WAITING:
        attributes["queuectl.job.run_at"] = format_time(transition.run_at)

    return attributes


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND * 1000
