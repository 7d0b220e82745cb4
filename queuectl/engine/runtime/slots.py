"""How many runs there may be at once."""

import anyio


class Slots:
    """
    A worker's slots: a semaphore that adopted runs may overdraw.

    A run that a dead worker left goes on whether there is a slot or not; until
    one of ours has ended for it, nothing new is started.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._semaphore = anyio.Semaphore(count, max_value=count)
        self._overdrawn = 0

    @property
    def free(self) -> int:
        """How many runs may be started now."""
        return self._semaphore.value

    def take(self) -> None:
        """Take a slot, free or not."""
        try:
            self._semaphore.acquire_nowait()
        except anyio.WouldBlock:
            self._overdrawn += 1

    def give_back(self) -> None:
        """Give a slot back, first of all what was overdrawn."""
        if self._overdrawn:
            self._overdrawn -= 1
        else:
            self._semaphore.release()
