"""The command that runs worlds by hand."""

import logging
import os
import subprocess
import sys

import pytest

from simulation.__main__ import main

BROKEN = "a_program_that_answers_before_the_commit"


@pytest.fixture(autouse=True)
def _log():
    """The command silences the log of its process; here that is of other tests, too."""
    yield
    logging.disable(logging.NOTSET)


def test_one_seed_is_told_line_by_line_and_the_same_each_time(capsys):
    told = []
    for _ in range(2):
        assert main(["--seed", "3"]) == 0
        told.append(capsys.readouterr().out)
    assert "no promise is broken" in told[0]
    assert "   1  " in told[0]
    assert told[0] == told[1]


def test_many_seeds_are_summed_up(capsys):
    assert main(["--seeds", "0-199", "--jobs", "2"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("200 worlds, seeds 0-199, in ")
    assert "no promise broken" in last


def test_seeds_that_fail_are_told_with_their_smallest_world(capsys):
    assert main(["--seeds", "0-1", "--broken", BROKEN]) == 1
    out = capsys.readouterr().out
    assert "the smallest world found: 1 callers, " in out
    assert "with a broken promise" in out.splitlines()[-1]


def test_what_is_to_be_run_has_to_be_said(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "--seed" in capsys.readouterr().err


DIGEST = """
from hashlib import sha256
from simulation.runs import run_seed
from simulation.trace import Trace
digest = sha256()
for seed in range(100, 200):
    trace = Trace()
    run_seed(seed, trace)
    digest.update(str(trace).encode())
print(digest.hexdigest())
"""


def test_a_seed_is_the_same_world_in_every_process():
    """Whatever the order is in which this process walks through its sets."""
    digests = set()
    for order in ("1", "2"):
        path = os.pathsep.join(filter(None, sys.path))
        environment = {**os.environ, "PYTHONHASHSEED": order, "PYTHONPATH": path}
        digests.add(subprocess.check_output([sys.executable, "-c", DIGEST], env=environment))
    assert len(digests) == 1
