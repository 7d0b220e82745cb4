"""The dashboard: a Starlette application over an engine, and the server for it."""

from importlib import import_module
from typing import TYPE_CHECKING

# Lazily, so that the packages of the extra are needed only where they are used.
if TYPE_CHECKING:
    from queuectl.dashboard.app import create_dashboard
    from queuectl.dashboard.server import Access, ServeError, open_server

_HOME_OF = {
    "create_dashboard": "queuectl.dashboard.app",
    "Access": "queuectl.dashboard.server",
    "ServeError": "queuectl.dashboard.server",
    "open_server": "queuectl.dashboard.server",
}

__all__ = ["Access", "ServeError", "create_dashboard", "open_server"]


def __getattr__(name: str) -> object:
    """Fetch a public name from its home."""
    home = _HOME_OF.get(name)

    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is public."""
    return list(__all__)
