"""What an engine is doing while it is killed, and how the job is to be found then."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

import msgspec

from queuectl import JobSpec, QueueEngine
from tests.chaos import crash_points_lives as lives
from tests.chaos.crash_points_counter import CrashPoints
from tests.chaos.crash_points_place import Place


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """
    How the job called ``job`` is to be found after recovery.

    Attributes:
        state: Its state.
        ended: The fewest and the most runs that came to their end.
        begun: The fewest and the most runs that began.
        attempts: Runs charged, fewest and most.
        exit_code: Of the last run.
        output_bytes: Of the last run; None for any.
    """

    state: str
    ended: tuple[int, int]
    begun: tuple[int, int]
    attempts: tuple[int, int]
    exit_code: int | None = None
    output_bytes: int | None = None


_ONCE: Final = Expected(state="completed", ended=(1, 1), begun=(1, 1), attempts=(1, 1), exit_code=0)

Live = Callable[[Place, CrashPoints], Coroutine[Any, Any, None]]
# The number is that of the last event before.
Resume = Callable[[Place, QueueEngine, int], Coroutine[Any, Any, None]]


async def _nothing(place: Place, engine: QueueEngine, since: int) -> None:
    """Leave the recovery to the engine."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        name: In a word.
        command: Of the job that is in the queue before anything is counted.
        options: Its other fields.
        before: What happens before the engine that is killed begins.
        live: What that engine does.
        resume: What a person does while another engine recovers.
        expected: How the job is found; None where there is none.
        all_or_none: How many jobs are there, where they are added as one.
    """

    name: str
    live: Live
    command: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    before: Callable[[Place], None] | None = None
    resume: Resume = _nothing
    expected: Expected | None = None
    all_or_none: int | None = None

    async def prepare(self, place: Place) -> None:
        """Make the database as the scenario finds it."""
        if self.command is None:
            return

        spec = JobSpec(
            command=self.command, id="job", cwd=str(place.folder), max_retries=0, backoff_base=0
        )
        async with lives.engine_of(place) as engine:
            await engine.enqueue_many([msgspec.structs.replace(spec, **self.options)])

        place.acknowledge("job")


_BEGIN: Final = lives.BEGIN
_END: Final = lives.END
_GATED: Final = lives.BEGIN + lives.WAIT + lives.END
_OUTPUT_BYTES: Final = 20_000
_MOST_OUTPUT_BYTES: Final = 10_000

_FAILED_TWICE: Final = Expected(
    state="dead", ended=(2, 2), begun=(2, 2), attempts=(2, 2), exit_code=3
)
_NEVER_ENDED: Final = Expected(state="cancelled", ended=(0, 0), begun=(0, 1), attempts=(0, 1))
_TIMED_OUT: Final = Expected(state="dead", ended=(0, 0), begun=(0, 1), attempts=(1, 1))
_GIVEN_BACK: Final = Expected(
    state="completed", ended=(1, 1), begun=(1, 2), attempts=(1, 2), exit_code=0
)
_RUN_AGAIN: Final = Expected(
    state="completed", ended=(1, 1), begun=(2, 2), attempts=(2, 2), exit_code=0
)
# Where the second dies with its worker there is a third; and who is ended between the
# last word and the end has said it all the same.
_KILLED_AND_RUN_AGAIN: Final = Expected(
    state="completed", ended=(1, 2), begun=(2, 3), attempts=(2, 3), exit_code=0
)
_KILLED: Final = Expected(state="dead", ended=(0, 0), begun=(1, 1), attempts=(1, 1))
_CUT: Final = Expected(
    state="dead", ended=(0, 0), begun=(1, 1), attempts=(1, 1), output_bytes=_MOST_OUTPUT_BYTES
)
_RETRIED: Final = Expected(
    state="completed", ended=(1, 1), begun=(1, 2), attempts=(1, 1), exit_code=0
)
_LARGE: Final = msgspec.structs.replace(_ONCE, output_bytes=_OUTPUT_BYTES)

SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="opening", live=lives.open_and_close),
        Scenario(name="success", live=lives.drain, command=_BEGIN + _END, expected=_ONCE),
        # With a word in it for which the command gets a shell of its own.
        Scenario(
            name="second-shell", live=lives.drain, command=f"eval :; {_BEGIN}{_END}", expected=_ONCE
        ),
        Scenario(
            name="failure",
            live=lives.drain,
            command=f"{_BEGIN}{_END}exit 3",
            options={"max_retries": 1},
            expected=_FAILED_TWICE,
        ),
        Scenario(
            name="large-output",
            live=lives.drain,
            command=f"{_BEGIN}printf %{_OUTPUT_BYTES}s .; {_END}",
            expected=_LARGE,
        ),
        Scenario(
            name="cancel",
            live=lives.cancel,
            command=_GATED,
            resume=lives.cancel_again,
            expected=_NEVER_ENDED,
        ),
        Scenario(
            name="timeout",
            live=lives.drain,
            command=_GATED,
            options={"timeout": timedelta(seconds=0.1)},
            expected=_TIMED_OUT,
        ),
        Scenario(
            name="drain",
            live=lives.stop_gently,
            command=_GATED,
            resume=lives.open_gate,
            expected=_ONCE,
        ),
        Scenario(
            name="stop-now",
            live=lives.stop_now,
            command=_GATED,
            options={"max_retries": 1},
            resume=lives.open_gate_where_not_ending,
            expected=_GIVEN_BACK,
        ),
        Scenario(
            name="recovery-running",
            before=lives.running,
            live=lives.adopt,
            command=_GATED,
            resume=lives.open_gate,
            expected=_ONCE,
        ),
        Scenario(
            name="recovery-ended",
            before=lives.ended,
            live=lives.drain,
            command=_GATED,
            expected=_ONCE,
        ),
        Scenario(
            name="recovery-claimed",
            before=lives.claimed,
            live=lives.drain,
            command=_BEGIN + _END,
            expected=_ONCE,
        ),
        Scenario(
            name="recovery-lost",
            before=lives.lost,
            live=lives.drain,
            command=_GATED,
            options={"max_retries": 1},
            expected=_RUN_AGAIN,
        ),
        Scenario(
            name="recovery-kills",
            before=lives.running,
            live=lives.drain_to_second,
            command=_GATED,
            options={"max_retries": 2, "on_crash": "kill"},
            resume=lives.open_gate_for_next,
            expected=_KILLED_AND_RUN_AGAIN,
        ),
        Scenario(
            name="recovery-buries",
            before=lives.running,
            live=lives.drain,
            command=_GATED,
            options={"max_retries": 1, "on_crash": "dead"},
            expected=_KILLED,
        ),
        Scenario(
            name="output-limit",
            live=lives.drain,
            command=f"{_BEGIN}printf %{_OUTPUT_BYTES}s .; {lives.WAIT}{_END}",
            options={"max_output_bytes": _MOST_OUTPUT_BYTES},
            expected=_CUT,
        ),
        Scenario(
            name="retry",
            live=lives.retry,
            command=f"{_BEGIN}[ -e go ] || exit 3; {_END}",
            resume=lives.retry_again,
            expected=_RETRIED,
        ),
        Scenario(name="run-here", live=lives.run_here, expected=_ONCE),
        Scenario(name="enqueue", live=lives.enqueue),
        Scenario(name="enqueue-many", live=lives.enqueue_many, all_or_none=8),
    )
}

# Here an engine runs what has run, for its evidence is gone: a walk must say so.
PLANTED: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="planted-amnesia",
            before=lives.forgotten,
            live=lives.drain,
            command=_GATED,
            options={"max_retries": 1},
            expected=_ONCE,
        ),
        Scenario(name="planted-lie", live=lives.lie),
    )
}
