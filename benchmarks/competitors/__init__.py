"""queuectl and other ways to run shell commands, in turns; each module here is one of them."""

from benchmarks.competitors.program import measure

__all__ = ["measure"]
