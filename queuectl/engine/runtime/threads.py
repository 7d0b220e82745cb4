"""Blocking work in a thread that is gone when the work is, or that nobody waits for."""

import asyncio
import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
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


def in_forgotten_thread(function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
    """
    Call a function that may hang, in a thread that nobody has to wait for.

    The interpreter waits at its end for the threads of `in_thread`; not for this one.

    Returns:
        What the function returns or raises, in time.

    Raises:
        OSError: The system has no thread for it.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(work: Future[T]) -> None:
        if result.cancelled():
            return

        if (error := work.exception()) is None:
            result.set_result(work.result())
        else:
            result.set_exception(error)

    def run() -> None:
        work: Future[T] = Future()

        try:
            work.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001 (for whoever waits for the result)
            work.set_exception(error)

        # The loop may be closed by then.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, work)

    try:
        threading.Thread(target=run, name="queuectl", daemon=True).start()
    except RuntimeError as error:
        raise _no_thread(error) from error

    return result


def _submit(
    executor: ThreadPoolExecutor, function: Callable[..., T], *arguments: object
) -> asyncio.Future[T]:
    try:
        return asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
    except RuntimeError as error:
        raise _no_thread(error) from error


def _no_thread(error: RuntimeError) -> OSError:
    # What a fork says of the same limit: it passes, and whoever has to waits for that.
    return OSError(errno.EAGAIN, f"cannot start a thread: {error}")
