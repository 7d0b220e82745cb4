"""Blocking work in a thread that is gone when the work is."""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """
    Call a function in a thread of its own, and return its result.

    The loop's own executor and anyio's keep their threads for later; an engine
    is to leave none behind.

    Raises:
        OSError: The system has no thread for it, or the function raised that.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="queuectl")

    try:
        return await _submit(executor, function, *arguments)
    finally:
        executor.shutdown(wait=False)


def _submit(
    executor: ThreadPoolExecutor, function: Callable[..., T], *arguments: object
) -> asyncio.Future[T]:
    try:
        return asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
    except RuntimeError as error:
        # What a fork says of the same limit: it passes, and whoever has to waits for that.
        raise OSError(errno.EAGAIN, f"cannot start a thread: {error}") from error
