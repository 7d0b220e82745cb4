"""
The jobs of a chaos run: shell commands that bear witness of themselves.

Each appends lines to a file of its own: ``S`` when it starts, ``T`` while it lives,
``E`` and its exit code as its last act, ``K`` where it kills itself. A line is one
short write to a file that is only appended to, so the lines stand in the order in which
they were written.
"""

import random
from collections.abc import Callable
from typing import Final

import msgspec

# The folder of the witness files.
WITNESS_VARIABLE: Final = "CHAOS_WITNESS"

# What every process of a chaos run has in its environment.
MARK_VARIABLE: Final = "CHAOS_MARK"

# Kind of line, attempt, process, seconds since boot, exit code.
_BEAR: Final = (
    'w() { read -r up rest </proc/uptime; echo "$1 $QUEUECTL_ATTEMPT $$ $up $2"'
    f' >>"${WITNESS_VARIABLE}/$QUEUECTL_JOB_ID"; }}; '
)


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """
    A job that a client is to enqueue.

    Attributes:
        kind: The name of its shape.
        timeout: Seconds.
    """

    id: str
    kind: str
    command: str
    timeout: float = 60.0
    max_retries: int = 4
    priority: int = 100
    delay: float | None = None
    on_crash: str | None = None
    max_output_bytes: int | None = None


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """
    A kind of job.

    Attributes:
        weight: How many there are of it, compared with the others.
        body: Makes its command.
        timeout: Seconds.
    """

    weight: int
    body: Callable[[random.Random], str]
    timeout: float = 60.0
    max_output_bytes: int | None = None


def ticking(seconds: float, step: float = 0.1, *, line: str = "T") -> str:
    """Return shell code that says for this long that it is alive."""
    count = max(1, round(seconds / step))
    return f"i=0; while [ $i -lt {count} ]; do w {line}; sleep {step}; i=$((i+1)); done"


def ending(code: int = 0) -> str:
    """Return shell code that says that it ends, and ends."""
    return f"w E {code}; exit {code}"


def witnessed(body: str) -> str:
    """Return a whole command."""
    return f"{_BEAR}w S; {body}"


def _quick(_: random.Random) -> str:
    return ending()


def _short(luck: random.Random) -> str:
    return f"sleep {luck.uniform(0.02, 0.2):.3f}; {ending()}"


def _medium(luck: random.Random) -> str:
    return f"{ticking(luck.uniform(0.2, 2.0))}; {ending()}"


def _chatty(luck: random.Random) -> str:
    count = luck.randint(3, 15)
    body = f"i=0; while [ $i -lt {count} ]; do w T; echo $i; sleep 0.1; i=$((i+1)); done"
    return f"{body}; {ending()}"


def _failing(luck: random.Random) -> str:
    return f"sleep {luck.uniform(0.0, 0.1):.3f}; {ending(luck.randint(1, 125))}"


def _failing_at_first(luck: random.Random) -> str:
    good = luck.randint(2, 3)
    return f"if [ $QUEUECTL_ATTEMPT -ge {good} ]; then {ending()}; fi; {ending(3)}"


def _too_long(_: random.Random) -> str:
    return f"{ticking(30)}; {ending()}"


def _deaf(_: random.Random) -> str:
    return f"trap '' TERM; {ticking(30)}; {ending()}"


def _with_child(luck: random.Random) -> str:
    return f"({ticking(20)}) & sleep {luck.uniform(0.05, 0.5):.2f}; {ending()}"


def _escaping(luck: random.Random) -> str:
    inner = f"{_BEAR}{ticking(20, 0.2, line='D')}"
    return f"setsid sh -c '{inner}' & sleep {luck.uniform(0.05, 0.5):.2f}; {ending()}"


def _escaping_twice(luck: random.Random) -> str:
    inner = f"{_BEAR}{ticking(20, 0.2, line='D')}"
    return f"(setsid sh -c '{inner}' &) ; sleep {luck.uniform(0.05, 0.5):.2f}; {ending()}"


def _flood(luck: random.Random) -> str:
    size = luck.randint(10_000, 400_000)
    return f"head -c {size} /dev/zero | tr '\\0' x; {ending()}"


def _flood_over_cap(_: random.Random) -> str:
    return f"i=0; while [ $i -lt 100000 ]; do echo {'x' * 60}; i=$((i+1)); done; {ending()}"


def _replaced(luck: random.Random) -> str:
    inner = f"{_BEAR}sleep {luck.uniform(0.02, 0.3):.2f}; {ending()}"
    return f"exec sh -c '{inner}'"


def _suicidal(_: random.Random) -> str:
    return f"if [ $QUEUECTL_ATTEMPT -ge 2 ]; then {ending()}; fi; w K; kill -9 $$"


SHAPES: Final = {
    "quick": Shape(weight=30, body=_quick),
    "short": Shape(weight=26, body=_short),
    "medium": Shape(weight=12, body=_medium),
    "chatty": Shape(weight=4, body=_chatty),
    "failing": Shape(weight=4, body=_failing),
    "failing-at-first": Shape(weight=8, body=_failing_at_first),
    "too-long": Shape(weight=2, body=_too_long, timeout=0.5),
    "deaf": Shape(weight=1, body=_deaf, timeout=0.5),
    "with-child": Shape(weight=4, body=_with_child),
    "escaping": Shape(weight=2, body=_escaping),
    "escaping-twice": Shape(weight=1, body=_escaping_twice),
    "flood": Shape(weight=3, body=_flood),
    "flood-over-cap": Shape(weight=1, body=_flood_over_cap, max_output_bytes=200_000, timeout=5.0),
    "replaced": Shape(weight=4, body=_replaced),
    "suicidal": Shape(weight=2, body=_suicidal),
}

# What becomes of a run whose worker died, and how often a job asks for it.
_ON_CRASH: Final = {"adopt": 92, "kill": 5, "dead": 3}


def make_job(job_id: str, luck: random.Random, kinds: tuple[str, ...] = ()) -> JobPlan:
    """
    Return a job of a kind chosen by luck.

    Args:
        job_id: Its id.
        luck: The source of all choices.
        kinds: The kinds to choose from; else all of them.
    """
    names = list(kinds or SHAPES)
    [kind] = luck.choices(names, [SHAPES[name].weight for name in names])
    [on_crash] = luck.choices(list(_ON_CRASH), list(_ON_CRASH.values()))
    shape = SHAPES[kind]

    return JobPlan(
        id=job_id,
        kind=kind,
        command=witnessed(shape.body(luck)),
        timeout=shape.timeout,
        max_retries=luck.choice([2, 3, 4, 6]),
        priority=luck.choice([50, 100, 100, 100, 200]),
        delay=luck.choice([None, None, None, round(luck.uniform(0.1, 1.0), 2)]),
        on_crash=on_crash,
        max_output_bytes=shape.max_output_bytes,
    )
