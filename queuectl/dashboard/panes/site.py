"""What is the same on every page."""

import msgspec


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """
    A dashboard as it was set up.

    Attributes:
        database: Where the database is, to be shown.
        program: What is typed before a command: ``queuectl``, with ``--db``
            where the database is not the default one.
        may_change: Whether it can do more than look.
        may_enqueue: Whether it has a form to enqueue.
        has_metrics: Whether ``/metrics`` is there.
    """

    database: str
    program: str = "queuectl"
    may_change: bool = True
    may_enqueue: bool = False
    has_metrics: bool = False
