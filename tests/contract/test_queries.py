"""Queries have names, and every name is used."""

from collections.abc import Callable
from pathlib import Path

import pytest

import queuectl
from queuectl.engine.store.queries import load_queries
from queuectl.engine.store.sqlite.statements import SQL

MakeModule = Callable[[str], str]


@pytest.fixture
def make_module(tmp_path: Path) -> MakeModule:
    """Return the file of a module that has this ``queries.sql`` beside it."""

    def make(text: str) -> str:
        (tmp_path / "queries.sql").write_text(text, encoding="utf-8")
        return str(tmp_path / "module.py")

    return make


def test_a_query_reaches_from_its_name_to_the_next(make_module: MakeModule) -> None:
    module = make_module(
        "-- About the file.\n\n-- name: one\nSELECT 1;\n\n-- name: two\n-- Why.\nSELECT\n  2;\n"
    )

    assert load_queries(module) == {"one": "SELECT 1;", "two": "-- Why.\nSELECT\n  2;"}


def test_a_name_stands_once(make_module: MakeModule) -> None:
    module = make_module("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")

    with pytest.raises(ValueError, match="stands twice"):
        load_queries(module)


def test_every_query_is_used() -> None:
    folder = Path(queuectl.__file__).parent / "engine" / "store" / "sqlite"
    source = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))

    unused = [
        name
        for name in SQL
        if f'"{name}"' not in source
        # Built from the name of the method and what is wanted.
        and not name.startswith(("list_jobs", "last_jobs"))
    ]

    assert unused == []


def test_no_query_reads_the_clock() -> None:
    words = ("current_timestamp", "datetime(", "unixepoch(", "strftime(", "julianday(")

    assert [name for name, text in SQL.items() if any(word in text.lower() for word in words)] == []
