"""Holds the catalogue of faults against the tests that it names."""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import Final

from tests.docs.test_reference import DOCS, ROOT

_ROW: Final = re.compile(r"^\| ([A-Z]\d+) \|.*\| (.*) \|$", re.MULTILINE)
_NAME: Final = re.compile(r"`([\w/]+\.py)::(\w+)`")
_NONE: Final = "none yet"

# How many faults each part has; those of what is not built have numbers beyond these.
_FAULTS: Final = {"P": 43, "D": 18, "C": 12, "S": 9, "W": 12}


def rows(page: str) -> list[tuple[str, str]]:
    """Return the number of each fault, and the cell that names its tests."""
    return _ROW.findall(page)


def flaws(page: str, tests: Path) -> list[str]:
    """Return what is wrong with the cells: words that are no tests, tests that are not there."""
    found = []

    for number, cell in rows(page):
        names = _NAME.findall(cell)
        rest = _NAME.sub("", cell).replace(",", "").strip()

        if rest != (_NONE if not names else ""):
            found.append(f"{number}: {rest or 'empty'}")

        found += [
            f"{number}: {file}::{name}"
            for file, name in names
            if name not in functions_of(tests / file)
        ]

    return found


def functions_of(path: Path) -> set[str]:
    """Return the names of the test functions in a file; none where it is missing."""
    if not path.name.startswith("test_") or not path.exists():
        return set()

    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def catalogue() -> str:
    return (DOCS / "explanation" / "reliability.md").read_text(encoding="utf-8")


def test_every_fault_is_in_the_catalogue_once() -> None:
    expected = [f"{part}{n + 1}" for part, count in _FAULTS.items() for n in range(count)]

    assert Counter(number for number, _ in rows(catalogue())) == Counter(expected)


def test_every_test_that_the_catalogue_names_is_there() -> None:
    assert flaws(catalogue(), ROOT / "tests") == []


def test_what_is_no_test_is_found(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "def test_here(): ...\nasync def test_too(): ...\ndef helper(): ...\n"
    )
    (tmp_path / "helpers.py").write_text("def test_not_run(): ...\n")
    page = (
        "| P1 | a | b | `test_one.py::test_here`, `test_one.py::test_too` |\n"
        "| P2 | a | b | none yet |\n"
        "| P3 | a | b | `test_one.py::test_gone` |\n"
        "| P4 | a | b | `test_one.py::helper` |\n"
        "| P5 | a | b | `test_two.py::test_here` |\n"
        "| P6 | a | b | `helpers.py::test_not_run` |\n"
        "| P7 | a | b | see `test_one.py::test_here` |\n"
        "| P8 | a | b | later |\n"
        "| P9 | a | b |  |\n"
        "| P10 | a | b | `test_one.py::test_here`, none yet |\n"
    )

    assert flaws(page, tmp_path) == [
        "P3: test_one.py::test_gone",
        "P4: test_one.py::helper",
        "P5: test_two.py::test_here",
        "P6: helpers.py::test_not_run",
        "P7: see",
        "P8: later",
        "P9: empty",
        "P10: none yet",
    ]
