"""Queries have names, and every name is used."""

from collections.abc import Callable
from pathlib import Path

import pytest

import queuectl
from queuectl.engine.store.queries import load_queries
from queuectl.engine.store.sqlite.operations import SQL

MakePackage = Callable[[str], str]


@pytest.fixture
def make_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePackage:
    """Make a package with this ``queries.sql`` that can be imported."""

    def make(text: str) -> str:
        # Python remembers packages by name; no two tests may share one.
        package = f"queries_{abs(hash(tmp_path))}"
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "queries.sql").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return package

    return make


def test_a_query_reaches_from_its_name_to_the_next(make_package: MakePackage) -> None:
    package = make_package(
        "-- About the file.\n\n-- name: one\nSELECT 1;\n\n-- name: two\n-- Why.\nSELECT\n  2;\n"
    )

    assert load_queries(package) == {"one": "SELECT 1;", "two": "-- Why.\nSELECT\n  2;"}


def test_a_name_stands_once(make_package: MakePackage) -> None:
    package = make_package("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")

    with pytest.raises(ValueError, match="stands twice"):
        load_queries(package)


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
