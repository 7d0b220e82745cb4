"""A view that is drawn again and again, on a terminal that is left as it was."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from queuectl.cli import screen
from queuectl.cli.errors import CommandError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

# What ends a program that does not ask for them; SIGINT is asyncio's.
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class LiveView:
    """
    The terminal while something is shown on it; see `live_view`.

    It is the alternate screen of the terminal, so that what was there before is there
    again at the end. Nothing is drawn while another program is in the foreground.
    """

    def __init__(self) -> None:
        self._live = _make_live()
        self._shown: RenderableType = ""

    def show(self, view: "RenderableType") -> None:
        """Draw something in place of what is there."""
        self._shown = view
        self.redraw()

    def redraw(self) -> None:
        """Draw the same again, as when the terminal has another size."""
        if not screen.is_in_foreground(sys.stdout):
            return

        with screen.named_errors():
            self._live.start()
            self._live.update(self._shown, refresh=True)

    def leave(self) -> None:
        """Give the terminal back as it was; drawing takes it again."""
        with screen.named_errors():
            self._live.stop()

    def end_by(self, number: signal.Signals) -> None:
        """Give the terminal back, and end by a signal as if it had not been handled."""
        # The terminal may have gone, which is what SIGHUP tells.
        with suppress(screen.OutputClosedError, CommandError):
            self.leave()

        asyncio.get_running_loop().remove_signal_handler(number)
        signal.raise_signal(number)

    def suspend(self) -> None:
        """Give the terminal back and stop, as Ctrl-Z asks; go on when continued."""
        self.leave()
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTSTP)
        # To this thread, so that it stops here.
        signal.raise_signal(signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self.suspend)
        self.redraw()


@contextmanager
def live_view() -> Iterator[LiveView]:
    """
    Have the terminal of the standard output to draw on, inside the context.

    It is given back however the context is left, and at the signals that end or stop
    the program; after a stop it is taken again.

    Raises:
        CommandError: The terminal cannot be written to.
    """
    view = LiveView()
    loop = asyncio.get_running_loop()
    handlers: dict[signal.Signals, Callable[[], object]] = {
        **{number: partial(view.end_by, number) for number in _ENDING},
        signal.SIGTSTP: view.suspend,
        signal.SIGWINCH: view.redraw,
    }
    # As by nohup: what is ignored stays ignored.
    handled = [number for number in handlers if signal.getsignal(number) is not signal.SIG_IGN]

    for number in handled:
        loop.add_signal_handler(number, handlers[number])

    try:
        yield view
    finally:
        for number in handled:
            loop.remove_signal_handler(number)

        view.leave()


def _make_live() -> "Live":
    from rich.console import Console
    from rich.live import Live

    return Live(
        console=Console(),
        screen=True,
        # Drawn when there is something new, by nobody else.
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
