"""Every address of the dashboard, in one place; wherever the dashboard is mounted."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

Query: TypeAlias = Mapping[str, str | int | Iterable[str] | None]

_NOTICE: Final = ("done", "count", "skipped")

# By the name of the route. The application makes its routes of these, and the
# templates their links.
PATHS: Final = {
    "overview": "/",
    "jobs": "/jobs",
    "job": "/jobs/{job_id}",
    "dlq": "/dlq",
    "scheduled": "/scheduled",
    "workers": "/workers",
    "config": "/config",
    "config_unset": "/config/unset",
    "database": "/database",
    "enqueue": "/enqueue",
    "confirm": "/confirm/{action}",
    "retry": "/actions/retry",
    "cancel": "/actions/cancel",
    "delete": "/actions/delete",
    "run_now": "/actions/run-now",
    "dlq_retry": "/actions/dlq/retry",
    "dlq_purge": "/actions/dlq/purge",
    "purge": "/actions/purge",
    "drain": "/actions/workers/drain",
    "stop": "/actions/workers/stop",
    "live": "/live/{pane}",
    "static": "/static/{path}",
    "healthz": "/healthz",
    "metrics": "/metrics",
    "api_stats": "/api/stats",
    "api_jobs": "/api/jobs",
    "api_job": "/api/jobs/{job_id}",
    "api_job_output": "/api/jobs/{job_id}/output",
    "api_job_retry": "/api/jobs/{job_id}/retry",
    "api_job_cancel": "/api/jobs/{job_id}/cancel",
    "api_job_run_now": "/api/jobs/{job_id}/run-now",
    "api_dlq": "/api/dlq",
    "api_dlq_retry": "/api/dlq/retry",
    "api_document": "/api/openapi.json",
}

# Those that a form comes back to; an id is as the domain allows it, so no dots lead up.
_PAGES: Final = frozenset(
    PATHS[name]
    for name in (
        "overview",
        "jobs",
        "dlq",
        "scheduled",
        "workers",
        "config",
        "database",
        "enqueue",
    )
)
_JOB_PAGE: Final = re.compile(r"/jobs/[A-Za-z0-9][A-Za-z0-9._:-]*")


class Links(msgspec.Struct, frozen=True):
    """
    Makes links into the dashboard.

    Attributes:
        root: The path under which it is mounted, without a slash at its end;
            empty at the top.
    """

    root: str = ""

    def to(self, name: str, query: "Query | None" = None, **parts: str) -> str:
        """
        Return the address of a route, from the root of the host.

        Args:
            name: As in `PATHS`.
            query: What follows the question mark; None is left out, a list is
                repeated.
            parts: What stands in braces in the path.
        """
        quoted = {part: quote(value, safe="/:") for part, value in parts.items()}
        path = f"{self.root}{PATHS[name].format(**quoted)}"
        given = {key: value for key, value in (query or {}).items() if value is not None}
        return f"{path}?{urlencode(given, doseq=True)}" if given else path

    def back(self, text: str | None, *, otherwise: str) -> str:
        """
        Return where a form asked to come back to, where that is one of our pages.

        Args:
            text: As the form gave it: a path with its query.
            otherwise: The name of the route to go to where it gave none, or
                one that leads elsewhere.
        """
        if not text or not text.isascii() or not text.isprintable():
            return self.to(otherwise)

        # No parsing of addresses: ours are few, and what browsers make of odd ones differs.
        path = text.partition("?")[0]
        below = path.removeprefix(self.root) if path.startswith(f"{self.root}/") else ""
        is_ours = below in _PAGES or _JOB_PAGE.fullmatch(below)
        return text if is_ours else self.to(otherwise)


def here(path: str, query: Iterable[tuple[str, str]]) -> str:
    """
    Return the address of a page, for coming back to; without what it says was done.

    Args:
        path: From the root of the host.
        query: Names and values, in their order.
    """
    kept = [(name, value) for name, value in query if name not in _NOTICE]
    return f"{path}?{urlencode(kept)}" if kept else path


def noted(address: str, code: str, count: int = 1, *, skipped: int = 0) -> str:
    """
    Return an address that also says what was done; what it said before is left out.

    Args:
        address: A path, with or without a query.
        code: As in `queuectl.dashboard.panes.notice`.
        count: To how many.
        skipped: To how many of those that were asked for it was not.
    """
    path, _, query = address.partition("?")
    same = here(path, parse_qsl(query))
    said = {"done": code, "count": count} | ({"skipped": skipped} if skipped else {})
    return f"{same}{'&' if '?' in same else '?'}{urlencode(said)}"
