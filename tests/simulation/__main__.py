"""Run the simulation by hand: ``PYTHONPATH=src:tests python -m simulation --seeds 0-999999 --jobs 2``."""

import argparse
import logging
import sys
from contextlib import nullcontext
from typing import Any

from simulation.broken import BROKEN, broken
from simulation.ranges import run_ranges
from simulation.runs import told

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one seed or many; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="run this one and print what happens in it")
    which.add_argument(
        "--seeds", type=_range, help="run these, e.g. 0-999999; only failures are told"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes for many seeds (1)")
    parser.add_argument(
        "--broken", choices=sorted(BROKEN), help="with a program that is wrong on purpose"
    )
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)  # that a sweep fails is what these worlds are about
    if given.seed is not None:
        return _tell(given.seed, given.broken)
    tally = run_ranges(given.seeds, given.jobs, given.broken, _say)
    for seed in tally.failed[:3]:
        _tell(seed, given.broken)
    if len(tally.failed) > 3:
        _say(f"all seeds that fail: {' '.join(map(str, tally.failed))}")
    _say(tally)
    return 1 if tally.failed else 0


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _tell(seed: int, how: str | None) -> int:
    context: Any = broken(how) if how else nullcontext()
    with context:
        text = told(seed)
    _say(text)
    return 1 if "!!!" in text else 0


if __name__ == "__main__":
    sys.exit(main())
