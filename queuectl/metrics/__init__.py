"""The queue as Prometheus reads it: its figures as text, and a small server for them."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from queuectl import ExtraMissingError

# Lazily, so that the package of the extra is needed only where it is used.
if TYPE_CHECKING:
    from queuectl.metrics.exposition import CONTENT_TYPE, render
    from queuectl.metrics.server import MetricsServeError, Place, check_place, serve

_HOME_OF = {
    "CONTENT_TYPE": "queuectl.metrics.exposition",
    "render": "queuectl.metrics.exposition",
    "MetricsServeError": "queuectl.metrics.server",
    "Place": "queuectl.metrics.server",
    "check_place": "queuectl.metrics.server",
    "serve": "queuectl.metrics.server",
}

__all__ = [
    "CONTENT_TYPE",
    "MetricsServeError",
    "Place",
    "check_place",
    "is_installed",
    "missing",
    "render",
    "serve",
]


def is_installed() -> bool:
    """Return whether the package that the extra ``metrics`` brings is there."""
    return find_spec("prometheus_client") is not None


def missing() -> ExtraMissingError:
    """Return the error for who asks for metrics where it is not."""
    return ExtraMissingError("metrics", "prometheus-client")


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
