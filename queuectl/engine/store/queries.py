"""Reads files of named SQL queries; called at import, never on the event loop."""

import re
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(module: str) -> dict[str, str]:
    """
    Return the queries in the ``queries.sql`` beside a module, by name.

    A query starts at a line ``-- name: words_like_this`` and ends at the next.

    Args:
        module: Its file.

    Raises:
        ValueError: Two queries have the same name.
    """
    path = Path(module).with_name("queries.sql")
    text = path.read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names = parts[::2]

    if len(set(names)) < len(names):
        msg = f"a name stands twice in {path}"
        raise ValueError(msg)

    return dict(zip(names, (query.strip() for query in parts[1::2]), strict=True))
