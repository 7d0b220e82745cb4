"""``python -m tests.chaos``: a run of any size, and its figures."""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.chaos.figures import Figures
from tests.chaos.harness import Harness
from tests.chaos.plan import Size, make_plan


def main() -> int:
    """Run, print, and return 1 where something was wrong."""
    given = _parser().parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    size = Size(
        seconds=given.seconds,
        jobs=given.jobs,
        kills=given.kills,
        engines=given.engines,
        slots=given.slots,
        is_disk_small=given.small_disk,
        # Two cores work off some twenty jobs a second, with what goes wrong with them.
        drain_seconds=120 + given.jobs / 20,
    )
    _say(f"seed {seed}")
    folder = given.folder or Path(tempfile.mkdtemp(prefix="queuectl-chaos-"))
    figures = asyncio.run(Harness(make_plan(seed, size), folder).run())
    text = msgspec.json.format(msgspec.json.encode(figures)).decode()
    _say(text)

    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")

    _say(_verdict(figures, folder))
    return 0 if figures.is_clean else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the plan; else any, which is printed")
    parser.add_argument("--seconds", type=float, default=20, help="how long faults arrive")
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--kills", type=int, default=30, help="how often engines are killed")
    parser.add_argument("--engines", type=int, default=3)
    parser.add_argument("--slots", type=int, default=6, help="of each engine")
    parser.add_argument("--small-disk", action="store_true", help="fill a small disk, as root")
    parser.add_argument("--folder", type=Path, help="for everything that the run leaves")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser


def _verdict(figures: Figures, folder: Path) -> str:
    wrong = {kind: count for kind, count in figures.violations.items() if count}
    verdict = f"wrong: {wrong}" if wrong else "nothing was wrong"
    return f"seed {figures.seed}: {verdict}; all that is left of it is in {folder}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
