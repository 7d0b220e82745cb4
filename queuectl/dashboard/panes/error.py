"""What went wrong, as a page."""

from typing import Final

import msgspec

from queuectl.dashboard.text import readable_line

_LONGEST: Final = 1000

_TITLES: Final = {
    400: "Not understood",
    401: "Please show your link",
    403: "Not from here",
    404: "Not found",
    405: "Not in this way",
    408: "Not in time",
    409: "Not any more",
    413: "Too much at once",
    421: "Not under this name",
    422: "Not accepted",
    500: "Something broke",
    503: "Not now",
}
_HINTS: Final = {
    401: "Open the link that queuectl dashboard printed when it started; it holds the token.",
    403: "A change is only taken from a page of the dashboard itself. Open it, and try again.",
    404: "It may have been deleted, or pruned because it was old.",
    409: "It has changed since the page was made. Go back and look again.",
    500: "The log of the dashboard says more. No job was half changed: a change happens whole.",
    503: "The database is busy or cannot be reached. The next try may work.",
}

# Seen by whoever can reach the port: no navigation, no name of the database.
_STRANGERS: Final = frozenset({401, 421})


class ErrorView(msgspec.Struct, frozen=True, kw_only=True):
    """
    What went wrong.

    Attributes:
        status: The HTTP status.
        title: In a few words.
        message: What is wrong.
        hint: What to do about it; empty where there is nothing to say.
        is_stranger: Whether the reader may not be one of ours.
        asks_token: Whether showing a token helps.
        is_of_jobs: Whether the list of jobs helps.
    """

    status: int
    title: str
    message: str
    hint: str
    is_stranger: bool
    asks_token: bool
    is_of_jobs: bool


def error_view(
    status: int, message: str | None = None, hint: str | None = None, *, is_of_jobs: bool = False
) -> ErrorView:
    """
    Return what went wrong as it is shown.

    Args:
        status: The HTTP status.
        message: What is wrong, else the usual words.
        hint: What to do about it, else the usual words.
        is_of_jobs: Whether it is about a job that is not there.
    """
    title = _TITLES.get(status, "Something is wrong")

    return ErrorView(
        status=status,
        title=title,
        message=readable_line(message or "", longest=_LONGEST),
        hint=readable_line(hint or _HINTS.get(status, ""), longest=_LONGEST),
        is_stranger=status in _STRANGERS,
        asks_token=status == 401,  # noqa: PLR2004 (Unauthorized)
        is_of_jobs=is_of_jobs,
    )
