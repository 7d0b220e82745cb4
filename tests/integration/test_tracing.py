"""Attempts as spans, and trace contexts on their way through jobs, by OpenTelemetry's SDK."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    NoOpTracer,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
)

from queuectl import EventKind, JobSpec, JobState, OutcomeKind, QueueEngine
from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.plans import Stop
from queuectl.engine.runtime.recording import EndedRun, Recorder
from queuectl.engine.runtime.tracing import Tracing
from tests.integration.conftest import GRACE
from tests.integration.orphans import GATE, orphaned
from tests.integration.processes import engine_process, pid_in
from tests.waiting import wait_for_event, wait_until

TELL: Final = 'echo "$TRACEPARENT ${TRACESTATE-none}"'
FOREIGN: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

# A worker that traces, and tells nobody: it is going to be killed.
TRACED_WORK: Final = """
import asyncio, sys
from opentelemetry.sdk.trace import TracerProvider
from queuectl import QueueEngine

async def main():
    tracer = TracerProvider().get_tracer("killed")
    async with QueueEngine(sys.argv[1], tracer=tracer) as engine, engine.workers():
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """What was traced."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider.get_tracer("tests")


@pytest.fixture
async def traced(db_path: Path, tracer: Tracer) -> AsyncIterator[QueueEngine]:
    async with engine_with(db_path, tracer) as engine:
        yield engine


@asynccontextmanager
async def engine_with(db_path: Path, tracer: Tracer | None) -> AsyncIterator[QueueEngine]:
    async with QueueEngine(db_path, kill_grace=GRACE, tracer=tracer) as engine:
        yield engine


def attempts_in(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == "queuectl.run"]


def context_of(span: ReadableSpan) -> SpanContext:
    context: SpanContext | None = span.context
    assert context is not None
    return context


def traceparent(context: SpanContext) -> str:
    ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
    return f"00-{ids}-{context.trace_flags:02x}"


def links_of(span: ReadableSpan) -> list[str]:
    return [traceparent(link.context) for link in span.links]


def events_of(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, dict(event.attributes or {})) for event in span.events]


async def test_an_attempt_is_a_span_by_the_conventions_for_messaging(
    traced: QueueEngine, spans: InMemorySpanExporter
) -> None:
    await traced.enqueue("exit 0", id="job", tags=["nightly"])
    await traced.drain()

    [span] = attempts_in(spans)
    assert (span.kind, span.parent, span.links) == (SpanKind.CONSUMER, None, ())
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "messaging.system": "queuectl",
        "messaging.destination.name": "queue.db",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.message.id": "job",
        "messaging.client.id": "w1",
        "queuectl.job.attempt": 1,
        "queuectl.job.tags": ("nightly",),
        "queuectl.run.outcome": "completed",
        "process.exit.code": 0,
    }
    assert events_of(span) == [("queuectl.job.completed", {"queuectl.job.state": "completed"})]


async def test_a_span_has_the_times_of_the_attempt(
    traced: QueueEngine, spans: InMemorySpanExporter
) -> None:
    await traced.enqueue("exit 0", id="job")
    await traced.drain()

    [span], [attempt] = attempts_in(spans), await traced.attempts("job")
    assert attempt.finished_at is not None
    for nanoseconds, kept in (
        (span.start_time, attempt.started_at),
        (span.end_time, attempt.finished_at),
    ):
        moment = datetime.fromtimestamp((nanoseconds or 0) / 10**9, UTC)
        # Those that are kept have milliseconds.
        assert 0 <= (moment - kept).total_seconds() < 0.002


async def test_every_attempt_is_linked_to_where_the_job_was_enqueued(
    traced: QueueEngine, tracer: Tracer, spans: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("request") as request:
        await traced.enqueue("exit 3", id="job", max_retries=1, backoff_base=0)

    await traced.drain()
    first, second = attempts_in(spans)

    for number, span in enumerate((first, second), start=1):
        [link] = span.links
        assert traceparent(link.context) == traceparent(request.get_span_context())
        assert (span.attributes or {})["queuectl.job.attempt"] == number

    traces = {context_of(span).trace_id for span in (first, second)}
    assert len(traces | {request.get_span_context().trace_id}) == 3


async def test_a_failure_is_an_error_with_the_reason_and_what_became_of_the_job(
    traced: QueueEngine, spans: InMemorySpanExporter
) -> None:
    await traced.enqueue("exit 3", max_retries=1, backoff_base=0)
    await traced.drain()
    first, second = attempts_in(spans)

    for span in (first, second):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "exit_code=3"
        assert (span.attributes or {})["error.type"] == "failed"

    [(failed, retry)], [(died, last)] = events_of(first), events_of(second)
    assert (failed, died) == ("queuectl.job.failed", "queuectl.job.died")
    assert retry.pop("queuectl.job.run_at").endswith("Z")
    assert retry == {"queuectl.job.state": "failed", "queuectl.job.reason": "exit_code=3"}
    assert last == {"queuectl.job.state": "dead", "queuectl.job.reason": "exit_code=3"}


async def test_a_command_that_cannot_be_started_has_a_span_too(
    traced: QueueEngine, spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    await traced.enqueue("true", cwd=tmp_path / "nowhere", max_retries=0)
    await traced.drain()

    [span] = attempts_in(spans)
    assert (span.attributes or {})["error.type"] == "spawn_failed"


async def test_a_cancelled_run_is_no_error(
    traced: QueueEngine, spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    await traced.enqueue(GATE, id="job", cwd=tmp_path)

    async with traced.workers():
        await pid_in(tmp_path / "pid")
        await traced.cancel("job", reason="enough")
        await traced.wait("job", timeout=10)

    [span] = attempts_in(spans)
    assert span.status.status_code is StatusCode.UNSET
    assert [name for name, _ in events_of(span)] == ["queuectl.job.cancelled"]


async def test_what_became_of_a_job_is_traced_and_logged_as_the_database_has_it(
    traced: QueueEngine,
    tracer: Tracer,
    spans: InMemorySpanExporter,
    db_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A worker of another test may have taken the log for itself.
    monkeypatch.setattr(logging.getLogger("queuectl"), "propagate", True)
    await traced.enqueue("exit 0", id="job")
    now = traced._clock.now()
    [job] = (await traced._store.claim(1, 1, now=now)).jobs
    await traced.cancel("job", reason="enough")
    recorder = Recorder(
        traced._store, traced._clock, StateFolder(db_path), Tracing(tracer, db_path)
    )
    outcome = Outcome(kind=OutcomeKind.LOST, reason="lost")

    with caplog.at_level("INFO", logger="queuectl"):
        assert await recorder.record(EndedRun(job=job, outcome=outcome, started_at=now))

    [span] = attempts_in(spans)
    cancelled = {"queuectl.job.state": "cancelled", "queuectl.job.reason": "enough"}
    assert (await traced.get("job")).state is JobState.CANCELLED
    assert events_of(span) == [("queuectl.job.cancelled", cancelled)]
    assert "cancelled job: enough" in caplog.messages


async def test_a_command_goes_on_with_the_trace_of_its_attempt(
    traced: QueueEngine, tracer: Tracer, spans: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("request"):
        await traced.enqueue(TELL, id="job")

    await traced.drain()
    [span] = attempts_in(spans)

    assert await traced.output("job") == f"{traceparent(context_of(span))} none\n"


async def test_without_a_tracer_a_command_goes_on_with_the_trace_that_enqueued_it(
    traced: QueueEngine, tracer: Tracer, db_path: Path, spans: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("request") as request:
        await traced.enqueue(TELL, id="job")

    async with engine_with(db_path, None) as plain:
        await plain.drain()

    assert await traced.output("job") == f"{traceparent(request.get_span_context())} none\n"
    assert attempts_in(spans) == []


async def test_a_tracer_that_makes_nothing_is_as_none(
    traced: QueueEngine, tracer: Tracer, db_path: Path
) -> None:
    with tracer.start_as_current_span("request") as request:
        await traced.enqueue(TELL, id="job")

    async with engine_with(db_path, NoOpTracer()) as silent:
        await silent.drain()

    assert await traced.output("job") == f"{traceparent(request.get_span_context())} none\n"


async def test_a_job_that_nobody_traced_carries_nothing(
    traced: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACEPARENT", raising=False)

    assert (await traced.enqueue("true")).env == {}


async def test_outside_of_any_span_the_trace_that_the_program_was_started_in_counts(
    traced: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", FOREIGN)
    monkeypatch.setenv("TRACESTATE", "vendor=1")

    assert (await traced.enqueue("true")).env == {
        "TRACEPARENT": FOREIGN,
        "TRACESTATE": "vendor=1",
    }


async def test_a_context_that_a_job_brings_is_kept_and_linked_to(
    traced: QueueEngine, tracer: Tracer, spans: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("request"):
        job = await traced.enqueue("true", env={"TRACEPARENT": FOREIGN})

    await traced.drain()
    [span] = attempts_in(spans)

    assert job.env == {"TRACEPARENT": FOREIGN}
    assert links_of(span) == [FOREIGN]


async def test_the_state_of_another_trace_is_not_handed_on(
    traced: QueueEngine, monkeypatch: pytest.MonkeyPatch, db_path: Path
) -> None:
    monkeypatch.setenv("TRACESTATE", "the=workers")
    await traced.enqueue(TELL, id="own", env={"TRACESTATE": "the=jobs", "TRACEPARENT": FOREIGN})
    await traced.enqueue(TELL, id="stored", env={"TRACEPARENT": FOREIGN}, delay=0.001)

    async with traced.workers():
        await traced.wait("own", timeout=10)
        await traced.wait("stored", timeout=10)

    async with engine_with(db_path, None) as plain:
        await plain.enqueue(TELL, id="plain", env={"TRACEPARENT": FOREIGN})
        await plain.drain()

    assert (await traced.output("own")).endswith(" none\n")
    assert (await traced.output("stored")).endswith(" none\n")
    assert await traced.output("plain") == f"{FOREIGN} none\n"


@pytest.mark.parametrize("text", ["", "garbage", "00-0-0-01", FOREIGN + "\x1b[2J", "\u202e" * 600])
async def test_a_context_that_is_none_is_no_link(
    text: str, traced: QueueEngine, spans: InMemorySpanExporter
) -> None:
    await traced.enqueue("true", env={"TRACEPARENT": text})
    await traced.drain()

    [span] = attempts_in(spans)
    assert span.links == ()


async def test_what_is_not_sampled_is_handed_on_as_that(db_path: Path) -> None:
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("tests")

    async with engine_with(db_path, tracer) as engine:
        await engine.enqueue(TELL, id="job")
        await engine.drain()
        output = await engine.output("job")

    [version, _, _, flags] = output.split()[0].split("-")
    assert (version, int(flags, 16) & TraceFlags.SAMPLED) == ("00", 0)


async def test_what_runs_here_is_traced_as_well(
    traced: QueueEngine, tracer: Tracer, spans: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("request") as request:
        async with traced.run_here(JobSpec(command="true")):
            pass

    [span] = attempts_in(spans)
    assert links_of(span) == [traceparent(request.get_span_context())]


async def test_a_tracer_that_fails_costs_no_run_and_is_logged(
    db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(NoOpTracer):
        def start_span(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("no span today")

    async with engine_with(db_path, Broken()) as engine:
        await engine.enqueue("true", id="job")
        await engine.drain()
        job = await engine.get("job")

    assert job.state is JobState.COMPLETED
    assert "job job: cannot trace its run" in caplog.text
    assert "no span today" in caplog.text


async def test_the_adopter_of_a_run_goes_on_with_the_trace_that_its_programs_know(
    traced: QueueEngine,
    tracer: Tracer,
    spans: InMemorySpanExporter,
    db_path: Path,
    tmp_path: Path,
) -> None:
    with tracer.start_as_current_span("request") as request:
        await traced.enqueue(f"{TELL}; {GATE}", id="job", cwd=tmp_path)

    async with engine_process(TRACED_WORK, db_path) as dying:
        await pid_in(tmp_path / "pid")
        await dying.kill()

    async with traced.workers():
        await wait_for_event(traced, EventKind.ADOPTED)
        (tmp_path / "go").touch()
        job = await traced.wait("job", timeout=10)

    [span] = attempts_in(spans)
    known = (await traced.output("job")).split()[0]
    assert span.parent is not None
    assert traceparent(span.parent) == known
    assert context_of(span).trace_id == span.parent.trace_id
    assert links_of(span) == [traceparent(request.get_span_context())]
    assert [name for name, _ in events_of(span)] == [
        "queuectl.job.adopted",
        "queuectl.job.completed",
    ]
    assert (span.attributes or {})["messaging.client.id"] == "w2"
    assert job.started_at is not None
    assert span.start_time == round(job.started_at.timestamp() * 1000) * 10**6


async def test_a_run_that_nobody_traced_gets_a_trace_of_its_own_when_it_is_adopted(
    traced: QueueEngine, spans: InMemorySpanExporter, db_path: Path, tmp_path: Path
) -> None:
    await traced.enqueue(GATE, id="job", cwd=tmp_path, env={"TRACEPARENT": FOREIGN})
    await orphaned(db_path, tmp_path)

    async with traced.workers():
        await wait_for_event(traced, EventKind.ADOPTED)
        (tmp_path / "go").touch()
        await traced.wait("job", timeout=10)

    [span] = attempts_in(spans)
    assert span.parent is None
    assert links_of(span) == [FOREIGN]


async def test_a_run_that_ended_without_its_worker_has_a_span_when_that_is_found(
    traced: QueueEngine, spans: InMemorySpanExporter, db_path: Path, tmp_path: Path
) -> None:
    await traced.enqueue(GATE, id="job", cwd=tmp_path)
    await orphaned(db_path, tmp_path)
    (tmp_path / "go").touch()
    await wait_until((tmp_path / "runs").exists)
    await traced.drain()

    [span] = attempts_in(spans)
    assert (span.attributes or {})["queuectl.run.outcome"] == "completed"


async def test_a_run_that_is_left_to_a_successor_has_a_span_of_each_in_one_trace(
    traced: QueueEngine, spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    await traced.enqueue(GATE, id="job", cwd=tmp_path)

    async with traced.workers():
        await pid_in(tmp_path / "pid")
        [running] = traced._life._workers
        running.stop(Stop.LEAVE)

    (tmp_path / "go").touch()
    await traced.drain()
    first, second = attempts_in(spans)

    assert events_of(first) == [("queuectl.run.left", {})]
    assert second.parent is None or second.parent == context_of(first)
    assert (second.attributes or {})["queuectl.run.outcome"] == "completed"
