"""Reads files of named SQL queries; called at import, never on the event loop."""

import re
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(package: str) -> dict[str, str]:
    """
    Return the queries in a package's ``queries.sql``, by name.

    A query starts at a line ``-- name: words_like_this`` and ends at the next.

    Raises:
        ValueError: Two queries have the same name.
    """
    text = files(package).joinpath("queries.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names = parts[::2]

    if len(set(names)) < len(names):
        msg = f"a name stands twice in {package}/queries.sql"
        raise ValueError(msg)

    return dict(zip(names, (query.strip() for query in parts[1::2]), strict=True))
