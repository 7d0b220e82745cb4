"""Asks before something is destroyed, or many commands run."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.datastructures import QueryParams

from queuectl import (
    TERMINAL,
    InvalidValueError,
    JobState,
    format_time,
    parse_duration,
)
from queuectl.dashboard import words
from queuectl.dashboard.seen import SeenJob, looked_at, seen_jobs
from queuectl.dashboard.text import readable_line

if TYPE_CHECKING:
    from queuectl import QueueEngine

_LONGEST: Final = 200
_MOST_NAMES: Final = 20


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is asked before an action.

    Attributes:
        question: One sentence.
        consequence: What happens then.
        button: The words on the button that does it.
        otherwise: The route to go back to where the form does not say.
        has_reason: Whether a reason may be given.
        destroys: Whether something is lost.
    """

    question: str
    consequence: str
    button: str
    otherwise: str
    has_reason: bool = False
    destroys: bool = True


class ConfirmView(msgspec.Struct, frozen=True, kw_only=True):
    """
    A question before an action.

    Attributes:
        action: The name of the route that does it.
        asked: The question, and the words around it.
        fields: What is sent on, by name, as it is.
        names: What it is about: the first few.
        more: How many more.
        back: Where the form came from, as it was sent.
        note: What is left out; empty where nothing is.
    """

    action: str
    asked: Question
    fields: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    more: int
    back: str | None
    note: str = ""


async def load(engine: "QueueEngine", action: str, params: QueryParams) -> ConfirmView:
    """
    Look up what a question is about, and return it.

    Raises:
        InvalidValueError: There is no such action, nothing was selected, or the action
            would refuse it.
    """
    # Before anything is read: what changes from here on is not what is asked about.
    now = engine.now()

    if action in _OF_JOBS:
        # To cancel goes on with a job that has begun to run since, or is between two runs.
        is_timed = action == "delete"
        seen = seen_jobs(params.getlist("job"))
        jobs = [await looked_at(engine, each, is_timed=is_timed) for each in seen]
        return confirm_view(action, params, jobs=jobs)

    if action not in _OF_THE_DEAD:
        return confirm_view(action, params, until=now if action == "purge" else None)

    causes = await engine.dlq.causes()
    reason = params.get("reason")
    # Forms send the ends of lines as two characters.
    reason = None if reason is None else reason.replace("\r\n", "\n")

    # None where a cause is none of the frequent.
    dead = (
        (await engine.stats()).counts[JobState.DEAD]
        if reason is None
        else next((cause.count for cause in causes if cause.reason == reason), None)
    )
    view = confirm_view(action, params, dead=dead, until=now)

    # What dies from here on is told from them by its time alone.
    if any(cause.latest > now for cause in causes if reason in {None, cause.reason}):
        view = msgspec.structs.replace(view, note=_AHEAD)

    return view


def confirm_view(
    action: str,
    params: QueryParams,
    *,
    jobs: Sequence[SeenJob] = (),
    dead: int | None = None,
    until: datetime | None = None,
) -> ConfirmView:
    """
    Return the question before an action.

    Args:
        action: ``cancel``, ``delete``, ``dlq_purge``, ``dlq_retry``, ``purge`` or ``stop``.
        params: The fields of the form.
        jobs: The jobs that are named, as they are sent on.
        dead: How many dead jobs are meant, where that is known.
        until: As of when jobs are meant; sent on, for others may come.

    Raises:
        InvalidValueError: There is no such action, nothing was selected, or the action
            would refuse it.
    """
    ask = _QUESTIONS.get(action)

    if ask is None:
        msg = "there is nothing to confirm here"
        raise InvalidValueError(msg)

    fields = [*_fields(params, _FIELDS[action]), *(("job", str(job)) for job in jobs)]
    names = [job.id for job in jobs] or given(params, "worker")

    if until is not None:
        fields.append(("until", format_time(until)))

    return ConfirmView(
        action=action,
        asked=ask(params) if dead is None else _OF_THE_DEAD[action](params, dead),
        fields=tuple(fields),
        names=tuple(readable_line(name, longest=_LONGEST) for name in names[:_MOST_NAMES]),
        more=max(len(names) - _MOST_NAMES, 0),
        back=params.get("back"),
    )


def given(params: QueryParams, name: str) -> list[str]:
    """Return the values of a field that may be there several times, each once."""
    return list(dict.fromkeys(value for value in params.getlist(name) if value))


def finished_for(params: QueryParams) -> timedelta:
    """
    Return for how long jobs have been finished that are to be deleted.

    Raises:
        InvalidValueError: It is no duration, or the jobs are not finished ones.
    """
    if not TERMINAL.issuperset(given(params, "state")):
        names = ", ".join(sorted(TERMINAL))
        msg = f"only finished jobs are deleted by age ({names})"
        raise InvalidValueError(msg)

    return parse_duration(params.get("older_than", "").strip() or "0")


def _fields(params: QueryParams, wanted: set[str]) -> list[tuple[str, str]]:
    """Return what is sent on, each once; an empty reason is one, too."""
    items = dict.fromkeys(params.multi_items())
    return [
        (name, value) for name, value in items if name in wanted and (value or name == "reason")
    ]


def _selected(params: QueryParams, field: str) -> int:
    count = len(seen_jobs(params.getlist(field)) if field == "job" else given(params, field))

    if not count:
        msg = "nothing was selected: go back and tick something first"
        raise InvalidValueError(msg)

    return count


def _delete(params: QueryParams) -> Question:
    count = _selected(params, "job")
    return Question(
        question=f"Delete {words.counted(count, 'job')}?",
        consequence="Their runs and outputs are deleted too. This cannot be undone.",
        button=f"Delete {words.counted(count, 'job')}",
        otherwise="jobs",
    )


def _cancel(params: QueryParams) -> Question:
    count = _selected(params, "job")
    return Question(
        question=f"Cancel {words.counted(count, 'job')}?",
        consequence="What runs is ended, with all its processes. A cancelled job can be retried.",
        button=f"Cancel {words.counted(count, 'job')}",
        otherwise="jobs",
        has_reason=True,
    )


def _purge_dead(params: QueryParams, count: int | None = None) -> Question:
    return Question(
        question=f"Delete {_dead(params, count)}?",
        consequence="Their runs and outputs are deleted too. This cannot be undone.",
        button="Delete them",
        otherwise="dlq",
    )


def _retry_dead(params: QueryParams, count: int | None = None) -> Question:
    return Question(
        question=f"Retry {_dead(params, count)}?",
        consequence="Their commands run again, as soon as there are slots.",
        button="Retry them",
        otherwise="dlq",
        destroys=False,
    )


def _dead(params: QueryParams, count: int | None) -> str:
    """Return which dead jobs are meant, and how many where that is known."""
    reason = params.get("reason")

    if reason is None and params.get("all") != "yes":
        msg = "nothing was selected: name a cause, or all"
        raise InvalidValueError(msg)

    words_of = readable_line(reason or "", longest=_LONGEST) or "no reason given"
    which = "there are" if reason is None else f"that died of: {words_of}"
    what = "all dead jobs" if count is None else f"{words.counted(count, 'dead job')}, all"
    return f"{what} {which}"


def _purge(params: QueryParams) -> Question:
    _selected(params, "state")
    finished_for(params)
    states = " and ".join(given(params, "state"))
    older = readable_line(params.get("older_than") or "0", longest=_LONGEST)
    return Question(
        question=f"Delete all jobs that are {states} for longer than {older}?",
        consequence="Their runs and outputs are deleted too. This cannot be undone.",
        button="Delete them",
        otherwise="database",
    )


def _stop(params: QueryParams) -> Question:
    count = _selected(params, "worker")
    return Question(
        question=f"Stop {words.counted(count, 'worker')} now?",
        consequence="Their running jobs are ended and given back to the queue: they begin anew.",
        button=f"Stop {words.counted(count, 'worker')}",
        otherwise="workers",
    )


_QUESTIONS: Final[dict[str, Callable[[QueryParams], Question]]] = {
    "cancel": _cancel,
    "delete": _delete,
    "dlq_purge": _purge_dead,
    "dlq_retry": _retry_dead,
    "purge": _purge,
    "stop": _stop,
}
_OF_THE_DEAD: Final = {"dlq_purge": _purge_dead, "dlq_retry": _retry_dead}
_OF_JOBS: Final = {"cancel", "delete"}
_AHEAD: Final = (
    "Those that are written down as if they died at a time to come, by a clock that was ahead,"
    " are left: tick them one by one."
)
_FIELDS: Final[dict[str, set[str]]] = {
    "cancel": set(),
    "delete": set(),
    "dlq_purge": {"reason", "all"},
    "dlq_retry": {"reason", "all"},
    "purge": {"state", "older_than"},
    "stop": {"worker"},
}
