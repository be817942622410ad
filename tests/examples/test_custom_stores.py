"""The two stores that the page about custom stores shows are held to the contract that ours are held to."""

import importlib.util
import random
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import settings

from pystator import InvalidValueError, StoreUnavailableError
from pystator.testing import BasicContract, StatechartsContract, StoreContract, SyncFace
from pystator.testing.building import applied, change, note
from pystator.testing.commits import CommitsContract
from pystator.testing.history import HistoryContract
from pystator.testing.idempotency import IdempotencyContract
from pystator.testing.stateful import StoreComparison

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FileStore = load("file_store").FileStore
LedgerStore = load("ledger_store").LedgerStore


# Three methods ------------------------------------------------------------------------------------


class TestFileStore(SyncFace, BasicContract, StatechartsContract):
    """The three methods, and a whole statechart through an orchestrator."""

    def make_store(self, path):
        return FileStore(path / "entities")


def test_files_have_names_that_every_disk_takes(tmp_path):
    """Also disks that take capital letters for small ones."""
    store = FileStore(tmp_path)
    ids = ["a", "A", "ä", ".", "..", "a/b", "nul\\", "x" * 255, "y" * 255, "%41", "😀" * 255]
    for number, entity_id in enumerate(ids):
        store.set_state(entity_id, f"s{number}")
    assert [store.get_state(each) for each in ids] == [f"s{number}" for number in range(len(ids))]
    names = [path.name for path in tmp_path.iterdir()]
    assert len({name.lower() for name in names}) == len(ids)
    assert all(name.isascii() and len(name) < 255 and not name.startswith(".") for name in names)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    store = FileStore(tmp_path)
    store.set_state("e", "open", metadata={"context": {"total": Decimal("1.10")}})
    with pytest.raises(InvalidValueError, match=r"entity\.context\.lines"):
        store.set_state("e", "shut", metadata={"context": {"lines": {1}}})
    assert (store.get_state("e"), store.get_context("e")) == ("open", {"total": Decimal("1.10")})
    assert len(list(tmp_path.iterdir())) == 1


class TestShelfStore(CommitsContract, HistoryContract, IdempotencyContract):
    """The native store that stands on the page itself."""

    def make_store(self, path):
        page = (EXAMPLES.parent / "docs" / "custom-stores.md").read_text(encoding="utf-8")
        [code] = re.findall(r"```python\n(import threading\n.*?)\nshelf = ", page, re.DOTALL)
        names = {}
        exec(compile(code, "custom-stores.md", "exec"), names)
        return names["ShelfStore"]()


# The native protocol ------------------------------------------------------------------------------


class TestLedgerStore(StoreContract):
    """Every topic; `make soak` has the other face, too."""

    daily = "sync"
    calls = 40

    def make_store(self, path):
        return LedgerStore(path / "ledger")


class LedgerAgainstMemory(StoreComparison):
    def make_store(self, path):
        return LedgerStore(path / "ledger")


TestLedgerAgainstMemory = LedgerAgainstMemory.TestCase
TestLedgerAgainstMemory.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger"


WRITER = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("ledger_store", {str(EXAMPLES / "ledger_store.py")!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from pystator.testing.building import change, lookup

store = module.LedgerStore(sys.argv[1]).connect()
"""


def run(code, path):
    """The code in a process of its own, with an open store."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER + code, str(path)], stdout=subprocess.PIPE, text=True
    )


def test_processes_share_a_ledger(path):
    """Each counts to a hundred, and no count is lost."""
    code = """
done = 0
while done < 100:
    [loaded] = store.load([lookup()])
    version = 0 if loaded.entity is None else loaded.entity.version
    [outcome] = store.commit([change(after=version, context={"n": version + 1})])
    done += outcome.kind == "applied"
"""
    processes = [run(code, path) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with LedgerStore(path) as store:
        assert store.get_context("e") == {"n": 300}
        rows = store.history("e", limit=1_000).items
        assert [row.version for row in rows] == list(range(1, 301))
        assert [row.id for row in rows] == list(range(1, 301))


def test_forked_children_share_a_ledger_that_was_open(path):
    """A lock belongs to the open file, which a child has in common with its parent."""
    code = """
import os
from pystator.testing.building import applied, note

applied(store, note(version=0))
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        children = []
        break
    children.append(child)
for _ in range(40):
    applied(store, note(version=0))
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""
    process = run(code, path)
    process.communicate(timeout=60)
    assert process.returncode == 0
    with LedgerStore(path) as store:
        rows = store.history("e", machine_name="m", limit=1_000).items
        assert [row.id for row in rows] == list(range(1, 162))


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_writer_loses_nothing_that_it_answered(path, seed):
    code = """
version = 0
while True:
    entities = [change(name, after=version, context={"n": version + 1, "text": "x" * 5_000}) for name in "ef"]
    assert {outcome.kind for outcome in store.commit(entities)} == {"applied"}
    version += 1
    print(version, flush=True)
"""
    chance = random.Random(seed)
    process = run(code, path)
    for _ in range(chance.randrange(1, 50)):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    answered = max([0, *map(int, process.communicate()[0].split())])
    with LedgerStore(path) as store:
        entities = store.list_entities()
        versions = {entity.version for entity in entities}
        assert len(entities) == 2
        assert len(versions) == 1  # a batch is one line: both or neither
        assert versions.pop() >= answered
        assert all(entity.context["n"] == entity.version for entity in entities)


@pytest.mark.parametrize("kept", [0, 1, 9, 100, -1])
def test_a_line_that_was_not_finished_is_cut_off(path, kept):
    with LedgerStore(path) as store:
        applied(store, change(context={"n": 1}))
        whole = path.read_bytes()
        applied(store, change(after=1, context={"n": 2}))
        line = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + line[:kept])
    with LedgerStore(path) as store:
        assert store.get_context("e") == {"n": 1}
        applied(store, change(after=1, context={"n": 3}))
    with LedgerStore(path) as store:
        assert store.get_context("e") == {"n": 3}
        assert [row.version for row in store.history("e").items] == [1, 2]


def test_a_damaged_line_is_told_and_nothing_is_cut_off(path):
    with LedgerStore(path) as store:
        applied(store, change(), change("f"))
        applied(store, change(after=1))
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with LedgerStore(path) as store:
        for call in (lambda: store.get_state("e"), lambda: store.commit([change("g")])):
            with pytest.raises(StoreUnavailableError, match="damaged at byte 0"):
                call()
    assert path.read_bytes() == content


def test_a_full_disk_is_told_and_the_ledger_stays_whole(path):
    """The disk is full for a process that may write only so many bytes."""
    code = """
import resource, signal
from pystator import StoreUnavailableError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
for version in range(100):
    try:
        store.commit([change(after=version, context={"n": version + 1, "text": "x" * 1_000})])
    except StoreUnavailableError as error:
        assert "cannot be written" in error.message
        break
assert 0 < version < 99
assert store.get_context("e")["n"] == version
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert store.commit([change(after=version, context={"n": version + 1})])[0].kind == "applied"
print(version + 1)
"""
    process = run(code, path)
    version = int(process.communicate(timeout=60)[0])
    with LedgerStore(path) as store:
        assert store.get_context("e") == {"n": version}
        assert len(store.history("e").items) == version


def test_a_ledger_is_made_by_connecting_only(path):
    with pytest.raises(StoreUnavailableError, match="call connect"):
        LedgerStore(path).get_state("e")
    assert not path.exists()
    with LedgerStore(path) as store:
        store.append_later([note("nobody", version=0, event_id="i")])
        assert store.get_state("nobody") is None
    assert path.stat().st_mode & 0o077 == 0  # entities are nobody else's business
