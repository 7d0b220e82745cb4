"""Blocking work in a thread that is gone when the work is."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """
    Call a function in a thread of its own, and return its result.

    The loop's own executor and anyio's keep their threads for later; an engine
    is to leave none behind.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="queuectl")

    try:
        return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
    finally:
        executor.shutdown(wait=False)
