"""
Adds a row with the libraries of queuectl, and no more: `bare_command.py DATABASE COMMAND`.

What is left of the start of `queuectl enqueue` when this is taken away is queuectl's; this is
its libraries'.
"""

import asyncio

import aiosqlite
import typer


def enqueue(database: str, command: str) -> None:
    """Add a row."""
    asyncio.run(_add(database, command))


async def _add(database: str, command: str) -> None:
    async with aiosqlite.connect(database) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS jobs (command TEXT)")
        await connection.execute("INSERT INTO jobs VALUES (?)", (command,))
        await connection.commit()


typer.run(enqueue)
