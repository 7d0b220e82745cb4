"""``python -m queuectl.dashboard``: the same as ``queuectl dashboard``."""

import sys

from queuectl.cli.app import main

# What is said before a command, and whether a value follows it.
_BEFORE = {"--db": True, "--debug": False}


def with_command(arguments: list[str]) -> list[str]:
    """Return the arguments of the program: the command behind what has to stand before it."""
    before: list[str] = []
    behind = list(arguments)

    while behind and behind[0].partition("=")[0] in _BEFORE:
        name, equals, _ = behind[0].partition("=")
        words = 2 if _BEFORE[name] and not equals else 1
        before += behind[:words]
        behind = behind[words:]

    return [*before, "dashboard", *behind]


if __name__ == "__main__":
    sys.argv[1:] = with_command(sys.argv[1:])
    main()
