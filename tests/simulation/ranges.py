"""Run many seeds, in several processes if need be."""

import gc
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

from simulation.broken import broken
from simulation.luck import Drawn
from simulation.plan import plan_of
from simulation.runs import run

__all__ = ["Tally", "run_ranges", "run_some"]

_CHUNK = 500
"""Seeds that a process takes at a time."""

_COLLECTED = 100
"""Worlds after which garbage is collected: they are full of circles, and small."""

_TOLD = 30.0
"""Seconds between two reports."""


class Tally:
    """What was run so far.

    Attributes:
        steps: Requests that were answered, and pauses that ended.
        troubles: Those that met trouble.
        failed: Seeds of worlds in which a promise was broken.
    """

    def __init__(self, wanted: range) -> None:
        self.wanted = wanted
        self.worlds = 0
        self.steps = 0
        self.troubles = 0
        self.failed: list[int] = []
        self.began = time.monotonic()

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        total = len(self.wanted)
        if self.worlds < total:
            left = seconds / max(self.worlds, 1) * (total - self.worlds)
            rest = f" of {total:,}; about {left / 60:.0f} min left"
        else:
            rest = f", seeds {self.wanted[0]}-{self.wanted[-1]}, in {seconds:,.0f} s"
        told = "no promise broken"
        if self.failed:
            told = f"{len(self.failed)} with a broken promise, e.g. seed {self.failed[0]}"
        return (
            f"{self.worlds:,} worlds{rest}: {told};"
            f" {self.steps:,} requests and pauses, {self.troubles:,} troubles"
        )


def run_some(seeds: range, how: str | None = None) -> tuple[int, int, int, list[int]]:
    """Run some seeds here: how many, steps, troubles, and the seeds that fail."""
    steps = troubles = 0
    failed: list[int] = []
    context: Any = broken(how) if how else nullcontext()
    with context, _little_garbage():
        for number, seed in enumerate(seeds, 1):
            plan = plan_of(seed)
            luck = Drawn(plan)
            try:
                world = run(plan, luck)
                steps += world.steps
                world.end()
            except AssertionError:
                failed.append(seed)
            troubles += luck.troubles
            if number % _COLLECTED == 0:
                gc.collect()
    return len(seeds), steps, troubles, failed


class _little_garbage:  # noqa: N801 - reads as a statement
    """Collect garbage by hand: the collector's own rhythm costs a quarter of the time."""

    def __enter__(self) -> None:
        self._was = gc.isenabled()
        self._frozen = gc.get_freeze_count()
        gc.disable()
        gc.collect()
        gc.freeze()  # what is there already is not looked at again and again

    def __exit__(self, *_: object) -> None:
        if not self._frozen:
            gc.unfreeze()
        if self._was:
            gc.enable()


def _chunks(seeds: range, how: str | None) -> Iterator[tuple[range, str | None]]:
    for start in range(0, len(seeds), _CHUNK):
        yield seeds[start : start + _CHUNK], how


def _run_chunk(chunk: tuple[range, str | None]) -> tuple[int, int, int, list[int]]:
    logging.disable(logging.CRITICAL)
    return run_some(*chunk)


def run_ranges(seeds: range, jobs: int, how: str | None, tell: Callable[[Tally], None]) -> Tally:
    """Run seeds in so many processes, and tell of it now and then."""
    tally = Tally(seeds)
    told = time.monotonic()
    with multiprocessing.Pool(jobs) as pool:
        for worlds, steps, troubles, failed in pool.imap_unordered(_run_chunk, _chunks(seeds, how)):
            tally.worlds += worlds
            tally.steps += steps
            tally.troubles += troubles
            tally.failed += failed
            if failed or time.monotonic() - told > _TOLD:
                told = time.monotonic()
                tell(tally)
    tally.failed.sort()
    return tally
