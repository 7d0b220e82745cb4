"""Errors as the command line shows them: exit code, one line, and what to do."""

from enum import IntEnum
from typing import Final, NamedTuple, Protocol, runtime_checkable

from queuectl import (
    ConfigError,
    DeliveryNotFoundError,
    DeliveryStateError,
    DuplicateJobError,
    EventsPrunedError,
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
    StoreUnusableError,
    WaitTimeoutError,
    WebhookNotFoundError,
    WorkerNotFoundError,
    WorkerStateError,
)


class ExitCode(IntEnum):
    """What the program says to whoever started it."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    TIMED_OUT = 5
    NOT_COMPLETED = 6
    DATABASE = 7
    INTERRUPTED = 130


class CommandError(Exception):
    """
    A command cannot do what it was asked to.

    Attributes:
        exit_code: What the program exits with.
        hint: What the reader can do about it, or None.
    """

    def __init__(
        self, message: str, *, exit_code: ExitCode = ExitCode.FAILURE, hint: str | None = None
    ) -> None:
        self.exit_code = exit_code
        self.hint = hint
        super().__init__(message)


class UsageError(CommandError):
    """What was asked for makes no sense as it stands."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, exit_code=ExitCode.USAGE, hint=hint)


@runtime_checkable
class _ParserError(Protocol):
    """What typer raises; its classes are private in some versions."""

    exit_code: int

    def format_message(self) -> str: ...


# What is not here is a plain failure.
_EXIT_CODES: Final[dict[type[BaseException], ExitCode]] = {
    ConfigError: ExitCode.USAGE,
    InvalidInputError: ExitCode.USAGE,
    InvalidJobError: ExitCode.USAGE,
    InvalidValueError: ExitCode.USAGE,
    JobNotFoundError: ExitCode.NOT_FOUND,
    RunNotFoundError: ExitCode.NOT_FOUND,
    OutputMissingError: ExitCode.NOT_FOUND,
    WorkerNotFoundError: ExitCode.NOT_FOUND,
    WebhookNotFoundError: ExitCode.NOT_FOUND,
    DeliveryNotFoundError: ExitCode.NOT_FOUND,
    EventsPrunedError: ExitCode.NOT_FOUND,
    DuplicateJobError: ExitCode.CONFLICT,
    JobStateError: ExitCode.CONFLICT,
    WorkerStateError: ExitCode.CONFLICT,
    DeliveryStateError: ExitCode.CONFLICT,
    LeftoverProcessError: ExitCode.FAILURE,
    WaitTimeoutError: ExitCode.TIMED_OUT,
    StoreBusyError: ExitCode.DATABASE,
    StoreUnusableError: ExitCode.DATABASE,
    SchemaVersionError: ExitCode.DATABASE,
}


class Problem(NamedTuple):
    """
    An error as it is shown.

    Attributes:
        exit_code: What the program exits with.
        message: What is wrong; may have several lines.
        hint: What the reader can do about it, or None.
        is_help: Whether the message is a command's help, for want of anything to do.
    """

    exit_code: int
    message: str
    hint: str | None = None
    is_help: bool = False


def explain(error: BaseException) -> Problem:
    """Say what is wrong, and what to do about it."""
    error = only_one(error)

    match error:
        case CommandError():
            return Problem(error.exit_code, str(error), error.hint)
        case QueueCtlError():
            return Problem(_exit_code(error), str(error), error.hint)
        case KeyboardInterrupt():
            return Problem(ExitCode.INTERRUPTED, "interrupted")
        case _ParserError():
            return _explain_usage(error)
        case OSError(strerror=str(words)):
            place = f": {error.filename}" if error.filename else ""
            return Problem(ExitCode.FAILURE, f"the system refuses: {words}{place}")
        case _:
            return Problem(
                ExitCode.FAILURE,
                f"unexpected: {type(error).__name__}: {error}",
                "this is a bug of queuectl; --debug before the command shows where it is",
            )


def only_one(error: BaseException) -> BaseException:
    """Return what a group with one member in it is about."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]

    return error


def _exit_code(error: BaseException) -> ExitCode:
    for kind in type(error).__mro__:
        if kind in _EXIT_CODES:
            return _EXIT_CODES[kind]

    return ExitCode.FAILURE


def _explain_usage(error: _ParserError) -> Problem:
    text = error.format_message()
    context = getattr(error, "ctx", None)

    if text.startswith("Usage:"):
        return Problem(error.exit_code, text, is_help=True)

    hint = None if context is None else f"see: {context.command_path} --help"
    # Ours begin small and end without a stop.
    return Problem(error.exit_code, text[:1].lower() + text[1:].removesuffix("."), hint)
