"""The commands by name; each is imported when it is asked for, for most are not."""

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, Final, TypeAlias

import typer
from typer.core import TyperGroup

# Typer has no public name for what a group is made of.
_Command: TypeAlias = Any

# In the order of the help: the name, and the module in `commands` that has it.
_HOMES: Final = {
    "enqueue": "enqueue",
    "run": "run",
    "worker": "worker",
    "status": "status",
    "top": "top",
    "list": "listing",
    "info": "jobs",
    "wait": "jobs",
    "cancel": "jobs",
    "retry": "jobs",
    "run-now": "jobs",
    "delete": "jobs",
    "purge": "jobs",
    "logs": "logs",
    "events": "events",
    "dlq": "dlq",
    "webhook": "webhook",
    "config": "config",
    "db": "db",
    "doctor": "doctor",
    "dashboard": "dashboard",
}


class _Catalogue(MutableMapping[str, _Command]):
    """Commands by name, made when they are taken out."""

    def __init__(self) -> None:
        self._made: dict[str, _Command] = {}

    def __getitem__(self, name: str) -> _Command:
        if name not in self._made:
            self._make(_HOMES[name])

        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*_HOMES, *self._made]))

    def __len__(self) -> int:
        return len({*_HOMES, *self._made})

    def __setitem__(self, name: str, command: _Command) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def _make(self, home: str) -> None:
        app: typer.Typer = import_module(f"queuectl.cli.commands.{home}").app
        group = typer.main.get_group_from_info(
            typer.models.TyperInfo(app),
            pretty_exceptions_short=False,
            suggest_commands=True,
            rich_markup_mode=None,
        )
        # One with a name is a group of its own; else its commands are the program's.
        self._made |= {group.name: group} if group.name else group.commands


class Program(TyperGroup):
    """The group of all commands."""

    def __init__(self, **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self.commands: MutableMapping[str, _Command] = _Catalogue()
