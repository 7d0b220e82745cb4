"""Where a database is when nobody says."""

import os
from pathlib import Path


def default_database() -> Path:
    """Return ``QUEUECTL_DB``, else ``~/.queuectl/queue.db``."""
    named = os.environ.get("QUEUECTL_DB")
    return Path(named).expanduser() if named else Path.home() / ".queuectl" / "queue.db"
