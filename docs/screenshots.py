"""
Takes the pictures of the dashboard that the documentation shows.

``nox -s screenshots`` rewrites them. The program runs as its users run it: ``queuectl
worker start`` and ``queuectl dashboard`` on a real database, a real browser at 1280
pixels and at the 375 of a phone. Only the day behind it is made, in `past.py`.
"""  # noqa: INP001 (a script beside the pages, not a package)

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess  # noqa: TID251 (starts the program as its users do)
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple, cast

from past import make_past
from PIL import Image
from playwright.async_api import Page, async_playwright, expect

from queuectl import QueueEngine

_FOLDER: Final = Path(__file__).parent / "howto" / "dashboard"
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")

# Colours that the pages use, with what is between them where letters are drawn; and
# bytes that a picture may have at the most.
_COLOURS: Final = 256
_LARGEST: Final = 100_000

_ENCODER: Final = """\
i=0
while [ $i -lt 900 ]; do
  i=$((i + 1))
  printf 'frame=%5d fps= 24 q=28.0 size=%7dKiB time=00:%02d:%02d speed=1.02x\\n' \\
    $((i * 24)) $((i * 311)) $((i / 60)) $((i % 60))
  sleep 0.2
done
"""


class Picture(NamedTuple):
    """
    A picture of a page.

    Attributes:
        name: Of its file, without the ending.
        path: Of the page.
        shows: Something that is there when the page is.
        width: Of the window, in pixels.
        height: Of the window.
        scheme: Light or dark.
    """

    name: str
    path: str
    shows: str
    width: int
    height: int
    scheme: Literal["light", "dark"]


PICTURES: Final = (
    Picture("overview", "", "Running now", 1280, 960, "light"),
    Picture("job", "jobs/video-film", "frame=  240", 1280, 960, "dark"),
    Picture("dead-letters", "dlq", "exit_code=22", 375, 812, "light"),
)


async def main() -> None:
    """Make a queue, let it work, and take the pictures."""
    with tempfile.TemporaryDirectory(prefix="queuectl-") as folder:
        database = Path(folder) / "queue.db"
        await make_past(database, datetime.now(UTC))  # noqa: TID251 (the real one)

        async with QueueEngine(database) as engine:
            await _fill(engine)

            with _started("worker", "start", "--count", "4", database=database):
                await _take_all(database)
                await engine.cancel("video-film")

                for job in await engine.list("processing"):
                    await engine.cancel(job.id)


async def _fill(engine: QueueEngine) -> None:
    """Add what runs and waits while the pictures are taken."""
    await engine.enqueue(_ENCODER, id="video-film", tags=["video"], cwd="/", priority=200)

    for number in range(30):
        await engine.enqueue(
            f"sleep 3.{number:02}  # rsync -a /srv/photos/{number:02} nas:/photos",
            id=f"sync-photos-{number:02}",
            tags=["sync"],
            cwd="/",
        )

    for minutes in (10, 45, 120):
        await engine.enqueue("./report.sh", id=f"report-{minutes}", delay=60 * minutes, cwd="/")


async def _take_all(database: Path) -> None:
    _FOLDER.mkdir(exist_ok=True)

    with _started("dashboard", "--port", "0", "--json", database=database) as dashboard:
        said = cast("IO[bytes]", dashboard.stdout)
        link = json.loads(await asyncio.to_thread(said.readline))["url"]

        for picture in PICTURES:
            async with _opened(link, picture) as page:
                raw = await page.screenshot()
                _write(_FOLDER / f"{picture.name}.png", raw)


@asynccontextmanager
async def _opened(link: str, picture: Picture) -> AsyncIterator[Page]:
    """Open the page of a picture, and wait until it shows what it is to show."""
    async with async_playwright() as playwright:
        path = next(filter(None, map(shutil.which, _BROWSERS)), None)
        browser = await playwright.chromium.launch(executable_path=path)
        page = await browser.new_page(
            viewport={"width": picture.width, "height": picture.height},
            color_scheme=picture.scheme,
        )
        await page.goto(link)
        await page.goto(f"{link.partition('?')[0]}{picture.path}")
        await expect(page.locator("main")).to_contain_text(picture.shows, timeout=30_000)

        yield page

        await browser.close()


@contextmanager
def _started(*words: str, database: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the program while in the context."""
    command = [sys.executable, "-m", "queuectl", "--db", str(database), *words]
    # A folder of its own for what it keeps beside the database.
    environment = {**os.environ, "HOME": str(database.parent)}

    with subprocess.Popen(  # noqa: S603 (ourselves)
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def _write(path: Path, raw: bytes) -> None:
    """
    Write a picture with as many colours as it needs.

    Raises:
        ValueError: It is too large for a repository.
    """
    picture = (
        Image.open(io.BytesIO(raw))
        .convert("RGB")
        .quantize(_COLOURS, method=Image.Quantize.FASTOCTREE)
    )
    picture.save(path, optimize=True)
    size = path.stat().st_size

    if size > _LARGEST:
        msg = f"{path.name} has {size} bytes"
        raise ValueError(msg)

    print(f"{path.name}: {size} bytes")  # noqa: T201 (a script)


if __name__ == "__main__":
    asyncio.run(main())
