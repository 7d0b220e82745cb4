"""The names that ``from queuectl import ...`` gives, and what that costs."""

import importlib
import subprocess  # noqa: TID251 (a Python that has imported nothing)
import sys
from pathlib import Path

import pytest

import queuectl

PACKAGE_FOLDER = Path(queuectl.__file__).parents[1]

# What a program that only imports the package must not pay for.
HEAVY = ["aiosqlite", "anyio", "asyncio", "msgspec", "rich", "sqlite3", "typer"]


def test_the_public_names_are_sorted_and_stand_once() -> None:
    names = queuectl.__all__

    # As ruff sorts them: constants, classes, functions.
    assert names == sorted(set(names), key=lambda name: (_kind(name), name))


def test_importing_queuectl_imports_no_driver_and_nothing_else_that_is_heavy() -> None:
    code = f"import queuectl, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={"PYTHONPATH": str(PACKAGE_FOLDER)},
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", queuectl.__all__)
def test_every_public_name_resolves_to_what_its_home_defines(name: str) -> None:
    value = getattr(queuectl, name)
    [home] = [home for home, names in queuectl._HOMES.items() if name in names]

    assert value is getattr(importlib.import_module(home), name)

    if isinstance(value, type):
        assert value.__name__ == name
        assert value.__doc__


def test_the_public_names_are_what_dir_shows() -> None:
    assert sorted(dir(queuectl)) == sorted([*queuectl.__all__, "__version__"])


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Engine'"):
        queuectl.Engine  # noqa: B018


def test_the_type_checker_is_shown_the_same_names_as_the_program() -> None:
    source = Path(queuectl.__file__).read_text(encoding="utf-8")
    shown = source.partition("if TYPE_CHECKING:")[2].partition("__version__")[0]

    assert [name for name in queuectl.__all__ if name not in shown] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(queuectl.__file__).with_name("py.typed").exists()


def _kind(name: str) -> int:
    if name.isupper():
        return 0

    return 1 if name[0].isupper() else 2
