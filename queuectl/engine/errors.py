"""Every exception of queuectl, in one tree, and how a message shows a value."""

from collections.abc import Sequence
from typing import Any, Final

_MOST_CHARACTERS: Final = 140
_MOST_DIGITS: Final = 40
_MOST_NAMES: Final = 10


def quoted(text: str) -> str:
    """Return a text for a message: in quotes, escaped, and cut where it is long."""
    shown = repr(text[: _MOST_CHARACTERS + 1])
    is_short = len(shown) <= len("''") + _MOST_CHARACTERS
    return shown if is_short else f"{shown[:_MOST_CHARACTERS]}..."


def named(name: str) -> str:
    """Return a name for a message: as it is, quoted only where it would spoil the line."""
    is_tame = 0 < len(name) <= _MOST_CHARACTERS and name.isprintable()
    return name if is_tame else quoted(name)


def plain(number: float) -> str:
    """Return a number for a message: in digits, not as ``1e+06``."""
    if not isinstance(number, int):
        return f"{number:.15g}"

    # Python refuses to write whole numbers of more than 4300 digits.
    is_long = abs(number) >= 10**_MOST_DIGITS
    return f"a number of more than {_MOST_DIGITS} digits" if is_long else str(number)


class QueueCtlError(Exception):
    """
    The root of every exception that queuectl raises on purpose.

    Attributes:
        hint: What the reader can do about it, as one sentence, or None.
    """

    hint: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """
        Let copies and other processes have the error as it is.

        An exception is copied by calling its class with the message, which is not
        what the classes below are called with.
        """
        return _blank, (type(self),), {**vars(self), "args": self.args}


class InvalidJobError(QueueCtlError, ValueError):
    """
    A job as asked for breaks a rule.

    Attributes:
        field: The field that is wrong, or None where the whole is.
        problem: What is wrong with it.
    """

    def __init__(self, problem: str, *, field: str | None = None, hint: str | None = None) -> None:
        self.field = field
        self.problem = problem
        self.hint = hint
        super().__init__(f"{field}: {problem}" if field else problem)


class InvalidInputError(QueueCtlError, ValueError):
    """
    Several jobs were given at once, and some of them break a rule.

    Nothing of the input was taken.

    Attributes:
        problems: Place (a line or an element, counted from 1) and problem,
            in the order of the input.
    """

    def __init__(
        self, unit: str, problems: list[tuple[int, str]], *, hint: str | None = None
    ) -> None:
        self.unit = unit
        self.problems = problems
        self.hint = hint
        lines = "\n".join(f"  {unit} {place}: {text}" for place, text in problems)
        noun = unit if len(problems) == 1 else f"{unit}s"
        super().__init__(f"nothing was enqueued: {len(problems)} bad {noun}\n{lines}")


class InvalidValueError(QueueCtlError, ValueError):
    """A duration, a time or another value that cannot be read, or is not allowed."""

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        self.hint = hint
        super().__init__(problem)


class ConfigError(QueueCtlError, ValueError):
    """
    An unknown config key, or a value outside its range.

    Attributes:
        key: The key as it was given.
    """

    def __init__(self, key: str, problem: str, *, hint: str | None = None) -> None:
        self.key = key
        self.hint = hint
        super().__init__(f"{named(key)}: {problem}")


class JobNotFoundError(QueueCtlError, LookupError):
    """
    No job has this id.

    Attributes:
        job_id: The id that was looked for.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.hint: str | None = "see what is there with: queuectl list"
        super().__init__(f"no such job: {named(job_id)}")


class RunNotFoundError(QueueCtlError, LookupError):
    """
    The job has no attempt of this number.

    Attributes:
        job_id: The job.
        attempt: The number that was looked for.
    """

    def __init__(self, job_id: str, attempt: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        super().__init__(f"job {named(job_id)} has no attempt {attempt}")


class OutputMissingError(QueueCtlError, LookupError):
    """
    The file with a run's output is gone.

    Attributes:
        job_id: The job.
        attempt: The run's number.
        path: Where the file was.
    """

    def __init__(self, job_id: str, attempt: int, path: str) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.path = path
        self.hint: str | None = "it was removed, or left behind when the database was copied"
        super().__init__(
            f"the output of job {named(job_id)}, attempt {attempt} is missing: {named(path)}"
        )


class EventsPrunedError(QueueCtlError, LookupError):
    """
    Events that were asked for are so old that they are not kept any more.

    Attributes:
        since: The sequence number behind which they were.
        oldest: The sequence number of the oldest that is kept; where none is, of
            the next one.
    """

    def __init__(self, since: int, oldest: int) -> None:
        self.since = since
        self.oldest = oldest
        self.hint: str | None = (
            f"begin behind {oldest - 1}, or behind 0 for all that is kept; how long"
            " they are kept says: queuectl config get event-retention"
        )
        super().__init__(
            f"not all events behind number {since} are kept any more: the oldest is {oldest}"
        )


class DuplicateJobError(QueueCtlError):
    """
    An id is taken; nothing was overwritten.

    Attributes:
        job_ids: The ids that are taken.
    """

    def __init__(self, job_ids: list[str]) -> None:
        self.job_ids = job_ids
        self.hint: str | None = "choose another id, or leave it out and one is made"
        noun = "a job with this id exists" if len(job_ids) == 1 else "jobs with these ids exist"
        super().__init__(f"{noun}: {listed([*map(named, job_ids)])}")


class JobStateError(QueueCtlError):
    """
    The job is in a state that does not allow the action.

    Attributes:
        job_id: The job.
        state: The state that it is in.
        action: What was asked for, as a verb.
    """

    def __init__(self, job_id: str, state: str, action: str, *, hint: str | None = None) -> None:
        self.job_id = job_id
        self.state = state
        self.action = action
        self.hint = hint
        super().__init__(f"cannot {action} job {named(job_id)}: it is {state}")


class WorkerNotFoundError(QueueCtlError, LookupError):
    """
    No live worker has this id.

    Attributes:
        worker: The id that was looked for.
    """

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.hint: str | None = "see what is there with: queuectl worker list"
        super().__init__(f"no such worker: {named(worker)}")


class WorkerStateError(QueueCtlError):
    """
    The worker is not one with which that can be done.

    Attributes:
        worker: The worker's id.
        problem: Why not.
    """

    def __init__(self, worker: str, problem: str, *, hint: str | None = None) -> None:
        self.worker = worker
        self.problem = problem
        self.hint = hint
        super().__init__(f"worker {named(worker)} {problem}")


class LeftoverProcessError(QueueCtlError):
    """
    Workers have ended, and processes of their jobs could not be ended.

    Attributes:
        pids: Their numbers; empty where the system does not list who holds the
            files of a job.
    """

    def __init__(self, pids: list[int]) -> None:
        self.pids = pids
        self.hint: str | None = "see what they are with: ps -o pid,user,stat,args -p PID"
        listed = ", ".join(map(str, pids)) or "that the system does not list"
        noun = "process" if len(pids) == 1 else "processes"
        super().__init__(f"the workers have ended, but {noun} {listed} of their jobs could not be")


class WebhookNotFoundError(QueueCtlError, LookupError):
    """
    No webhook has this id.

    Attributes:
        webhook: The id that was looked for.
    """

    def __init__(self, webhook: str) -> None:
        self.webhook = webhook
        self.hint: str | None = "see what is there with: queuectl webhook list"
        super().__init__(f"no such webhook: {named(webhook)}")


class DeliveryNotFoundError(QueueCtlError, LookupError):
    """
    No delivery of a webhook has this id.

    Attributes:
        delivery: The id that was looked for.
    """

    def __init__(self, delivery: str) -> None:
        self.delivery = delivery
        self.hint: str | None = "see what is there with: queuectl webhook deliveries"
        super().__init__(f"no such delivery: {named(delivery)}")


class DeliveryStateError(QueueCtlError):
    """
    The delivery is in a state that does not allow the action.

    Attributes:
        delivery: The delivery's id.
        state: The state that it is in.
        action: What was asked for, as a verb.
    """

    def __init__(self, delivery: str, state: str, action: str) -> None:
        self.delivery = delivery
        self.state = state
        self.action = action
        self.hint: str | None = "what was delivered is not sent again"
        super().__init__(f"cannot {action} delivery {named(delivery)}: it is {state}")


class ExtraMissingError(QueueCtlError):
    """
    Packages that only a part of queuectl needs are not installed.

    Attributes:
        extra: What they are installed as.
        package: The first one that is missing.
    """

    def __init__(self, extra: str, package: str) -> None:
        self.extra = extra
        self.package = package
        self.hint: str | None = f"install them with: pip install 'queuectl[{extra}]'"
        super().__init__(f"the {extra} need extra packages, and {package} is missing")


class WaitTimeoutError(QueueCtlError, TimeoutError):
    """
    What was waited for did not happen in time.

    Attributes:
        waiting_for: What was still missing: job ids, or worker ids.
    """

    def __init__(self, waiting_for: list[str], seconds: float, *, hint: str | None = None) -> None:
        self.waiting_for = waiting_for
        self.hint = hint
        super().__init__(
            f"timed out after {plain(seconds)} s waiting for: {listed([*map(named, waiting_for)])}"
        )


class EngineClosedError(QueueCtlError, RuntimeError):
    """The engine is not open: use it inside ``async with``."""

    def __init__(self) -> None:
        super().__init__("the engine is not open: use it inside `async with`")


class StoreError(QueueCtlError):
    """
    The database cannot be used; the driver's error is the cause.

    Attributes:
        database: The file, as it was named.
    """

    def __init__(self, database: object, problem: str, *, hint: str | None = None) -> None:
        self.database: str = str(database)
        self.hint = hint
        super().__init__(f"{problem}: {self.database}")


class StoreBusyError(StoreError):
    """Another process holds the database's lock; trying again may help."""


class StoreUnusableError(StoreError):
    """The database cannot be used, however long one waits."""


class StoreDamagedError(StoreUnusableError):
    """The file is not a queuectl database, or is damaged."""

    @staticmethod
    def remedy(database: object) -> str:
        """Return what can be done about a damaged database, with the commands for it."""
        import shlex

        here, new = shlex.quote(str(database)), shlex.quote(f"{database}.recovered")
        return (
            "stop the workers and put a backup in its place; without one, the sqlite3 program,"
            f" 3.41 or newer, may save what can be read: sqlite3 {here} .recover | sqlite3 {new}"
        )


class StoreReplacedError(StoreUnusableError):
    """The database, or a file that belongs to it, was deleted or replaced while it was open."""


class SchemaVersionError(StoreError):
    """
    The database was written by a newer queuectl.

    Attributes:
        found: The schema version of the file.
        supported: The newest that this program knows.
    """

    def __init__(self, database: object, found: int, supported: int) -> None:
        self.found = found
        self.supported = supported
        super().__init__(
            database,
            f"the database has schema version {found}, this queuectl knows up to {supported}",
            hint="upgrade queuectl on this machine",
        )


def _blank(kind: type[QueueCtlError]) -> QueueCtlError:
    return kind.__new__(kind)


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are: there may be thousands."""
    first = ", ".join(names[:_MOST_NAMES])
    rest = len(names) - _MOST_NAMES
    return f"{first} and {rest} more" if rest > 0 else first
