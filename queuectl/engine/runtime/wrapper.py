"""
The shell code around a command that keeps its exit code.

When the engine dies, nobody is left to ask the kernel how a command ended. So
the shell writes that down itself, into a file.
"""

import re
import signal
from pathlib import Path
from typing import Final

from queuectl.engine.runtime.notes import NOT_BEGUN, Refusal

SHELL: Final = "/bin/sh"

_FIRST_REALTIME: Final = 32

# The variable that hands a command to the guarded form, which removes it.
COMMAND_VARIABLE: Final = "QUEUECTL_COMMAND"

# By number, for not every shell knows every name. What the system sends a shell of its own
# accord is left out: that it stops or goes on, that a child ended, that it is broken itself.
_PASSED_OVER: Final = " ".join(
    str(int(number))
    for number in sorted(
        set(signal.Signals)
        - {
            *(signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
            *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
            *(signal.SIGILL, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV),
        }
    )
    # Beyond are those that no shell sends by itself, and that differ from system to system.
    if number < _FIRST_REALTIME
)

# Words after which an EXIT trap in the same shell may not run, or fail, or be
# seen: they replace the shell, its traps or its commands, switch on traces,
# take descriptors away, or bring in text that is not seen here. Lines that are
# joined or not, depending on what stands before, are no text to be searched.
_UNSAFE: Final = re.compile(
    r"exec|trap|eval|source|alias|ulimit|prlimit|xtrace|verbose|%func|command\s*\(|function\s"
    r"|(?:^|[\s;&|(){}])\.(?:[\s<>]|$)"
)
# Traces, and reading without running, are switched on so; looked for one behind the
# other, for in one pattern that takes seconds where a long command has the first often.
_SET: Final = re.compile(r"\bset\b")
_TRACE: Final = re.compile(r"\s[-+]\w*[nvx]")
_JOINED: Final = "\\\n"

# What the shell takes out of a word before it looks at it: e'x'ec is exec.
_QUOTES: Final = re.compile(r"['\"\\]")

# What it may turn into any word at all: a variable, a pattern that is a file's name.
_EXPANDED: Final = re.compile(r"[$`*?~]|\[\S")

# Behind one of these, and in front of all, another command may begin; in quotes it
# does not, and is searched all the same.
_SEPARATOR: Final = re.compile(r"[\n;&|(){}`]")

# A begin of which it can be seen what it is that runs: a word without anything that is
# expanded, that is no assignment or redirection, which others may stand behind, and
# that does not itself begin what it is given, or change its shell by that.
_PLAIN_BEGIN: Final = re.compile(
    r"\s*+(?:(?:!|if|then|else|elif|while|until|do|time)\s++)*+"
    r"(?:(?!(?:set|command)\b)[\w./:@%+,-]++|\[\[?)?+(?:\s|$)"
)


def wrap(
    command: str,
    note: str,
    exit_file: Path,
    *,
    folder: str,
    refusal: str,
    trap_is_safe: bool,
) -> tuple[str, bool]:
    """
    Return shell code that runs a command and writes down its exit code.

    A trap costs 11 % on top of the shell that is there anyway, a second shell
    55 %. The trap stands on a line of its own, so that a command that does not
    parse leaves it standing. First of all the shell writes the note and its own
    number, and ends where it cannot: where nobody holds the run and that is
    missing too, the command never began.
    ``1<>`` writes over what is there, without cutting the file, so that a full
    disk cannot keep it out, and outlasts ``set -C``; ``command`` outlasts a
    function named echo.

    Args:
        command: The command.
        note: What to write before the code; says whose code it is. One line,
            plain characters.
        exit_file: Where to.
        folder: Where to run the command, absolute.
        refusal: What to say where the first word cannot be written. As the note is.
        trap_is_safe: Whether this shell's EXIT trap stays silent when a signal
            ends the shell; see `TRAP_PROBE`.

    Returns:
        The code, and whether the command must be handed over in
        `COMMAND_VARIABLE`.
    """

    def report(words: str) -> str:
        return f'command echo "{note} $$ {words}" 1<>{_quote(str(exit_file))}'

    begin = (
        f'command {first_words(note, exit_file)} || {{ echo "{refusal}"; exit {NOT_BEGUN}; }}; '
        f"command cd -P {_quote(folder)} 2>/dev/null"
        f" || {{ {report(Refusal.FOLDER)}; exit {NOT_BEGUN}; }}; "
        # Where the shell began is nothing that the command should know of.
        "unset OLDPWD"
    )

    if trap_is_safe and _keeps_the_trap(command):
        return f"{begin}; trap {_quote(report('$?'))} EXIT\n{command}", False

    # Signals to the whole group must not end this shell before the inner one;
    # a trap that is set, rather than ignored, is not inherited. What this shell
    # would say of the inner one's end, such as "Killed", is nobody's output.
    # Positional parameters are no variables, so the command meets none of ours.
    # Where there is no process for the inner shell, this one ends, with its trap and a
    # code of its own; bash runs the trap also where a signal ends it, with the last code.
    refuse = _quote(f"case $? in 0) ;; *) {report(Refusal.FORK)}; exit {NOT_BEGUN} ;; esac")
    code = (
        f"{begin}; trap : {_PASSED_OVER}; trap {refuse} EXIT; "
        f'set -- "${COMMAND_VARIABLE}"; unset {COMMAND_VARIABLE}; exec 9>&2 2>/dev/null; '
        f'(exec {SHELL} -c "$1" 2>&9 9>&-) && set -- 0 || set -- $?; '
        f"trap - EXIT; {report('$1')}; exit $1"
    )
    return code, True


def _keeps_the_trap(command: str) -> bool:
    """
    Whether nothing in a command can be, or become, what an EXIT trap does not survive.

    Quotes are not read as the shell reads them: what is taken for the begin of a
    command and is none costs a second shell, and no begin is missed.
    """
    bare = _QUOTES.sub("", command)

    if _JOINED in command or _UNSAFE.search(bare) or _sets_a_trace(bare):
        return False

    return not _EXPANDED.search(bare) or all(map(_PLAIN_BEGIN.match, _SEPARATOR.split(bare)))


def _sets_a_trace(bare: str) -> bool:
    found = _SET.search(bare)
    return found is not None and _TRACE.search(bare, found.end()) is not None


def first_words(note: str, exit_file: Path) -> str:
    """Return what a run's shell has to do first of all, by which it is known from the others."""
    return f'echo "{note} $$" 1<>{_quote(str(exit_file))}'


# Prints where the shell runs its EXIT trap although a signal ended it, with a
# code that says nothing: bash does, dash does not.
TRAP_PROBE: Final = "trap 'echo ran' EXIT; kill -TERM $$"


def _quote(text: str) -> str:
    """Quote for the shell."""
    return "'" + text.replace("'", "'\"'\"'") + "'"
