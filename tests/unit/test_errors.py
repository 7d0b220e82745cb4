import copy
import inspect
import pickle

import pytest

from queuectl.engine import errors
from queuectl.engine.errors import (
    ConfigError,
    DeliveryNotFoundError,
    DeliveryStateError,
    DuplicateJobError,
    EngineClosedError,
    EventsPrunedError,
    ExtraMissingError,
    InvalidInputError,
    InvalidJobError,
    InvalidValueError,
    JobNotFoundError,
    JobStateError,
    LeftoverProcessError,
    OutputMissingError,
    QueueCtlError,
    RunNotFoundError,
    SchemaVersionError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreReplacedError,
    StoreUnusableError,
    WaitTimeoutError,
    WebhookNotFoundError,
    WorkerNotFoundError,
    WorkerStateError,
)

SAMPLES = [
    InvalidJobError("is empty", field="command", hint="say what to run"),
    InvalidInputError("line", [(2, "command: is missing"), (5, "id: not allowed: ''")]),
    InvalidValueError("not a duration: 'x'"),
    ConfigError("retries", "no such config key", hint="the keys are: max-retries"),
    JobNotFoundError("job1"),
    RunNotFoundError("job1", 7),
    OutputMissingError("job1", 7, "/x/queue.db-run/output/1.7"),
    EventsPrunedError(7, 900),
    DuplicateJobError(["job1"]),
    JobStateError("job1", "completed", "retry", hint="enqueue it again"),
    WorkerNotFoundError("w7"),
    WorkerStateError("w7", "is part of another program", hint="restart that program"),
    LeftoverProcessError([123, 456]),
    WebhookNotFoundError("wh7"),
    DeliveryNotFoundError("msg_7"),
    DeliveryStateError("msg_7", "delivered", "retry"),
    ExtraMissingError("webhooks", "httpcore2"),
    WaitTimeoutError(["job1", "job2"], 2.5),
    EngineClosedError(),
    StoreError("/x/queue.db", "cannot be opened", hint="look at the folder"),
    StoreBusyError("/x/queue.db", "locked"),
    StoreUnusableError("/x/queue.db", "cannot be used"),
    StoreDamagedError("/x/queue.db", "not a queuectl database"),
    StoreReplacedError("/x/queue.db", "was replaced"),
    SchemaVersionError("/x/queue.db", 9, 3),
]
samples = pytest.mark.parametrize("error", SAMPLES, ids=[type(error).__name__ for error in SAMPLES])
classes = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, Exception)
]


def test_every_error_has_a_sample_here() -> None:
    assert {type(error) for error in SAMPLES} == set(classes) - {QueueCtlError}


@pytest.mark.parametrize("error_class", classes)
def test_every_error_is_in_one_tree_and_named_error(error_class: type[Exception]) -> None:
    assert issubclass(error_class, QueueCtlError)
    assert error_class.__name__.endswith("Error")


@pytest.mark.parametrize(
    ("error_class", "base"),
    [
        (InvalidJobError, ValueError),
        (InvalidInputError, ValueError),
        (InvalidValueError, ValueError),
        (ConfigError, ValueError),
        (JobNotFoundError, LookupError),
        (RunNotFoundError, LookupError),
        (OutputMissingError, LookupError),
        (WorkerNotFoundError, LookupError),
        (EventsPrunedError, LookupError),
        (WaitTimeoutError, TimeoutError),
        (EngineClosedError, RuntimeError),
        (StoreBusyError, StoreError),
        (StoreDamagedError, StoreError),
        (StoreReplacedError, StoreError),
        (SchemaVersionError, StoreError),
    ],
)
def test_an_error_is_also_what_a_caller_would_catch(
    error_class: type[Exception], base: type[Exception]
) -> None:
    assert issubclass(error_class, base)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InvalidJobError("is empty", field="command"), "command: is empty"),
        (InvalidJobError("nested too deeply"), "nested too deeply"),
        (
            InvalidInputError("line", [(2, "command: is missing")]),
            "nothing was enqueued: 1 bad line\n  line 2: command: is missing",
        ),
        (
            InvalidInputError("element", [(1, "a"), (30, "b")]),
            "nothing was enqueued: 2 bad elements\n  element 1: a\n  element 30: b",
        ),
        (ConfigError("retries", "no such config key"), "retries: no such config key"),
        (JobNotFoundError("job1"), "no such job: job1"),
        (RunNotFoundError("job1", 7), "job job1 has no attempt 7"),
        (
            EventsPrunedError(7, 900),
            "not all events behind number 7 are kept any more: the oldest is 900",
        ),
        (DuplicateJobError(["job1"]), "a job with this id exists: job1"),
        (DuplicateJobError(["a", "b"]), "jobs with these ids exist: a, b"),
        (JobStateError("job1", "completed", "retry"), "cannot retry job job1: it is completed"),
        (WorkerNotFoundError("w7"), "no such worker: w7"),
        (
            WorkerStateError("w7", "is part of another program"),
            "worker w7 is part of another program",
        ),
        (
            LeftoverProcessError([123]),
            "the workers have ended, but process 123 of their jobs could not be",
        ),
        (
            LeftoverProcessError([123, 456]),
            "the workers have ended, but processes 123, 456 of their jobs could not be",
        ),
        (WaitTimeoutError(["a", "b"], 2.5), "timed out after 2.5 s waiting for: a, b"),
        (WaitTimeoutError(["a"], 30), "timed out after 30 s waiting for: a"),
        (WaitTimeoutError(["a"], 2_592_000), "timed out after 2592000 s waiting for: a"),
        (StoreError("/x/queue.db", "cannot be opened"), "cannot be opened: /x/queue.db"),
        (EngineClosedError(), "the engine is not open: use it inside `async with`"),
        (
            SchemaVersionError("/x/queue.db", 9, 3),
            "the database has schema version 9, this queuectl knows up to 3: /x/queue.db",
        ),
    ],
)
def test_an_error_says_what_is_wrong(error: QueueCtlError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (JobNotFoundError("job1"), "see what is there with: queuectl list"),
        (WorkerNotFoundError("w7"), "see what is there with: queuectl worker list"),
        (DuplicateJobError(["a"]), "choose another id, or leave it out and one is made"),
        (SchemaVersionError("/x", 9, 3), "upgrade queuectl on this machine"),
        (LeftoverProcessError([1]), "see what they are with: ps -o pid,user,stat,args -p PID"),
        (WaitTimeoutError(["w7"], 3), None),
        (WaitTimeoutError(["w7"], 3, hint="kill -CONT 1"), "kill -CONT 1"),
        (WorkerStateError("w7", "is busy"), None),
        (WorkerStateError("w7", "is busy", hint="wait"), "wait"),
        (
            EventsPrunedError(7, 900),
            (
                "begin behind 899, or behind 0 for all that is kept; how long they are kept says:"
                " queuectl config get event-retention"
            ),
        ),
        (InvalidValueError("x"), None),
    ],
)
def test_an_error_says_what_to_do_where_there_is_something(
    error: QueueCtlError, hint: str | None
) -> None:
    assert error.hint == hint


def test_what_can_be_done_about_a_damaged_database_can_be_typed() -> None:
    assert StoreDamagedError.remedy("/my files/queue.db").endswith(
        ": sqlite3 '/my files/queue.db' .recover | sqlite3 '/my files/queue.db.recovered'"
    )


def test_the_data_of_an_error_stays_on_it() -> None:
    job = InvalidJobError("is empty", field="command", hint="say what to run")
    state = JobStateError("job1", "completed", "retry", hint="enqueue it again")
    wait = WaitTimeoutError(["a"], 1)
    schema = SchemaVersionError("/x", 9, 3)
    worker = WorkerStateError("w7", "is part of another program")

    assert (worker.worker, worker.problem) == ("w7", "is part of another program")
    assert LeftoverProcessError([7, 8]).pids == [7, 8]
    pruned = EventsPrunedError(7, 900)
    assert (pruned.since, pruned.oldest) == (7, 900)
    assert (job.field, job.problem, job.hint) == ("command", "is empty", "say what to run")
    assert (state.job_id, state.state, state.action) == ("job1", "completed", "retry")
    assert state.hint == "enqueue it again"
    assert wait.waiting_for == ["a"]
    assert (schema.database, schema.found, schema.supported) == ("/x", 9, 3)


@samples
def test_an_error_survives_the_way_to_another_process(error: QueueCtlError) -> None:
    # concurrent.futures and pytest-xdist send exceptions by pickle.
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301 (made on this line)

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_ten_thousand_taken_ids_are_not_all_printed() -> None:
    # Whoever enqueues the same file twice meets this one.
    ids = [f"job-{number}" for number in range(10_000)]

    error = DuplicateJobError(ids)

    assert error.job_ids == ids
    assert len(str(error)) < 1000
    assert "9990 more" in str(error)


@pytest.mark.parametrize(
    "error",
    [JobNotFoundError("x" * 5000), ConfigError("x" * 5000, "no such config key")],
    ids=["job", "config key"],
)
def test_a_name_that_is_long_is_cut(error: QueueCtlError) -> None:
    assert len(str(error)) < 300


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "\ud800"], ids=ascii)
def test_a_name_that_would_spoil_the_line_is_quoted(name: str) -> None:
    assert str(JobNotFoundError(name)) == f"no such job: {name!r}"


def test_a_copy_of_an_error_is_the_same() -> None:
    error = WaitTimeoutError(["job1"], 2.5)

    twin = copy.copy(error)

    assert (str(twin), vars(twin), twin.args) == (str(error), vars(error), error.args)
