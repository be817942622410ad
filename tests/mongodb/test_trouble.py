"""What goes wrong between a store and its server: told, survived, and never guessed."""

import asyncio
import os
import signal
import threading
import time

import pytest
from pymongo.errors import OperationFailure

from pystator import Orchestrator, StateMachine
from pystator.db.mongodb_url import parse_mongodb
from pystator.errors import StoreUnavailableError
from pystator.records import OutcomeKind
from pystator.stores.mongodb import MongoDBStateStore
from pystator.stores.mongodb.errors import Trouble
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver

APPLIED, STALE, DUPLICATE = OutcomeKind.APPLIED, OutcomeKind.STALE, OutcomeKind.DUPLICATE

MACHINE = {
    "meta": {"machine_name": "m", "version": "1.0"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
    "transitions": [
        {"trigger": "turn", "source": "open", "dest": "shut"},
        {"trigger": "turn", "source": "shut", "dest": "open"},
    ],
}


def kinds(outcomes):
    return [outcome.kind for outcome in outcomes]


def versions(store, name="e"):
    return [row.version for row in store.history(name, machine_name="m", limit=1_000).items]


@pytest.fixture(params=["sync", "async"])
def face(request):
    return request.param


@pytest.fixture
def far(over, face):
    """A store behind the line, and its driver."""
    with Driver(over(), face) as drive:
        drive.load([lookup()])  # connects
        yield drive


class TestLostAnswers:
    """A write whose answer is lost is found by what it left; one that never came is sent again."""

    @pytest.mark.parametrize("fate", ["lost", "mute"])
    def test_a_change_is_written_once(self, line, far, store, fate):
        applied(store, change())
        line.fates("update", fate)
        assert kinds(far.commit([change(after=1)])) == [APPLIED]
        assert versions(store) == [1, 2]

    @pytest.mark.parametrize("fate", ["lost", "mute"])
    def test_an_entity_is_made_once(self, line, far, store, fate):
        line.fates("insert", fate)
        assert kinds(far.commit([change(event_id="i")])) == [APPLIED]
        assert versions(store) == [1]

    @pytest.mark.parametrize("event_id", [None, "i"])
    @pytest.mark.parametrize("fate", ["lost", "mute"])
    def test_a_rejection_is_written_once(self, line, far, store, fate, event_id):
        applied(store, change())
        line.fates("update", fate)
        assert kinds(far.commit([note(event_id=event_id)])) == [APPLIED]
        assert versions(store) == [1, 1]

    @pytest.mark.parametrize("fate", ["lost", "mute"])
    def test_each_of_a_batch_is_written_once(self, line, far, store, fate):
        applied(store, *[change(f"e{number}", steps=number % 2 + 1) for number in range(6)])
        batch = [change(f"e{number}", after=1) for number in range(6)]
        line.fates("update", fate)
        assert kinds(far.commit(batch)) == [APPLIED, STALE] * 3
        assert [versions(store, f"e{number}") for number in range(6)] == [[1, 2]] * 6

    def test_it_is_found_although_others_have_gone_on(self, line, far, store):
        applied(store, change())
        left = ["update", "find"]

        def fate(command):
            if not left or next(iter(command)) != left[0]:
                return "well"
            if left.pop(0) == "update":
                return "mute"
            for version in range(2, 6):
                applied(store, change(after=version))
            return "well"

        line.fate = fate
        assert kinds(far.commit([change(after=1)])) == [APPLIED]
        assert versions(store) == [1, 2, 3, 4, 5, 6]

    def test_it_is_found_although_its_row_was_relayed(self, line, far, store):
        applied(store, change())
        left = ["update", "find"]

        def fate(command):
            if not left or next(iter(command)) != left[0]:
                return "well"
            if left.pop(0) == "update":
                return "mute"
            applied(store, change(after=2))
            store.feed(None)
            return "well"

        line.fate = fate
        assert kinds(far.commit([change(after=1)])) == [APPLIED]
        assert versions(store) == [1, 2, 3]

    def test_another_writer_of_the_same_version_is_told_apart(self, line, far, store):
        applied(store, change())
        left = ["update", "find"]

        def fate(command):
            if not left or next(iter(command)) != left[0]:
                return "well"
            if left.pop(0) == "update":
                return "lost"
            applied(store, change(after=1, steps=3))
            return "well"

        line.fate = fate
        assert kinds(far.commit([change(after=1)])) == [STALE]
        assert versions(store) == [1, 2, 3, 4]

    def test_what_is_never_answered_stays_unknown(self, line, far, store):
        applied(store, change())
        line.fate = lambda command: "lost" if "update" in command else "well"
        with pytest.raises(StoreUnavailableError, match="connection") as caught:
            far.commit([change(after=1)])
        assert "written" not in caught.value.context
        assert versions(store) == [1]

    def test_a_load_is_asked_again(self, line, far, store):
        applied(store, change(event_id="i"))
        for fates in (["lost"], ["mute", "lost", "mute"]):
            line.fates("find", *fates)
            assert far.load([lookup("e", "i")])[0].known.keys() == {"i"}

    def test_cut_idle_connections_fail_nothing(self, line, far):
        for version in range(3):
            applied(far, change(after=version))
            line.cut()
            assert far.load([lookup()])[0].entity.version == version + 1
            line.cut()

    def test_an_event_is_applied_once(self, line, over, store):
        orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), over())
        for number, fates in enumerate((["mute"], ["lost"], ["mute", "lost", "mute", "mute"])):
            orchestrator.process_event("e", "turn", event_id=f"a{number}").raise_for_error()
            line.fates("update", *fates)
            orchestrator.process_event("e", "turn", event_id=f"b{number}").raise_for_error()
        assert versions(store) == [1, 2, 3, 4, 5, 6]


class TestReplies:
    """Bulk replies have totals only: who was applied is read back, whatever happens meanwhile."""

    def test_outcomes_of_a_batch_are_true_while_others_write(self, line, far, store):
        applied(store, *[change(f"e{number}") for number in range(4)])
        applied(store, change("e1", after=1), change("e3", after=1, steps=2))
        left = ["update", "find"]

        def fate(command):
            if left and next(iter(command)) == left[0] and left.pop(0) == "find":
                applied(store, change("e0", after=2), note("e2", version=2))
                applied(store, change("e1", after=2))
            return "well"

        line.fate = fate
        batch = [change(f"e{number}", after=1) for number in range(4)]
        assert kinds(far.commit(batch)) == [APPLIED, STALE, APPLIED, STALE]

    def test_the_same_commit_of_another_caller_is_not_ones_own(self, store):
        batch = [change(f"e{number}", context={"n": number}) for number in range(6)]
        applied(store, *batch)
        changes = [change(f"e{number}", after=1) for number in range(6)]
        applied(store, *changes[::2])
        assert kinds(store.commit(changes)) == [STALE, APPLIED] * 3
        assert kinds(store.commit([*batch, change("new")])) == [STALE] * 6 + [APPLIED]


class TestCodes:
    def test_a_new_primary_that_cannot_read_yet_is_asked_again(self):
        """What a majority has is unknown to it for a moment: ReadConcernMajorityNotAvailableYet."""
        error = OperationFailure("Read concern majority reads are currently not possible.", 134)
        url = parse_mongodb("mongodb://localhost/shop")
        assert Trouble(url, reads=True, patience=1).pause_after(error) >= 0
        with pytest.raises(StoreUnavailableError):
            Trouble(url, reads=True, patience=0).pause_after(error)


class TestDeadlines:
    def test_a_late_answer_is_told_and_not_waited_for(self, line, over, store, face):
        applied(store, change())
        with Driver(over(timeout=0.5), face) as drive:
            drive.load([lookup()])
            line.fates("update", "late")
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError, match="in time") as caught:
                drive.commit([change(after=1)])
            assert time.monotonic() - began < 5
            assert "written" not in caught.value.context
            assert drive.load([lookup()])[0].entity.version == 2

    def test_more_callers_than_connections_wait_their_turn(self, over, face):
        with Driver(over(pool_size=2), face) as drive:
            calls = [("commit", ([change(f"e{number}")],)) for number in range(20)]
            assert [answer[0].kind for answer in drive.together(calls)] == [APPLIED] * 20

    def test_a_cancelled_call_leaves_the_store_usable(self, line, over, store):
        applied(store, change())

        async def run(far):
            await far.aload([lookup()])
            line.fates("update", "late")
            task = asyncio.create_task(far.acommit([change(after=1)]))
            while "update" not in line.commands:  # noqa: ASYNC110 - a thread writes it
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await far.aload([lookup()])

        assert asyncio.run(run(over(pool_size=1)))[0].entity.version in {1, 2}

    def test_an_interrupted_call_leaves_the_store_usable(self, line, over, store):
        applied(store, change())
        far = over(pool_size=1)
        far.load([lookup()])
        line.fates("update", "late")

        def interrupt():
            while "update" not in line.commands:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            far.commit([change(after=1)])
        thread.join()
        assert far.load([lookup()])[0].entity.version in {1, 2}


class TestServerAway:
    def test_it_is_told_and_survived(self, own_mongodb):
        server = own_mongodb()
        with (
            MongoDBStateStore(server.url, timeout=1.0) as store,
            Driver(store, "async") as drive_async,
        ):
            drives = {"e": Driver(store, "sync"), "f": drive_async}
            for name, drive in drives.items():
                applied(drive, change(name))
            server.kill()
            for name, drive in drives.items():
                with pytest.raises(StoreUnavailableError, match="no server answers") as caught:
                    drive.load([lookup(name)])
                assert caught.value.context["written"] is False
                with pytest.raises(StoreUnavailableError, match="no server answers") as caught:
                    drive.commit([change(name, after=1)])
                assert caught.value.context["written"] is False
            store.append_later([note()])
            with pytest.raises(StoreUnavailableError):
                store.flush()
            server.start()
            for name, drive in drives.items():
                applied(drive, change(name, after=1))
                assert drive.load([lookup(name)])[0].entity.version == 2
            store.flush()
            assert versions(store) == [1, 1, 2]
            server.kill()
            server.start()
            for name, drive in drives.items():
                applied(drive, change(name, after=2))  # over a connection that is dead

    def test_a_frozen_server_holds_nobody_for_longer_than_the_timeout(self, own_mongodb):
        server = own_mongodb()
        with MongoDBStateStore(server.url, timeout=0.7) as store:
            applied(store, change())
            with server.hung():
                began = time.monotonic()
                with pytest.raises(StoreUnavailableError, match="in time") as caught:
                    store.commit([change(after=1)])
                assert "written" not in caught.value.context
                with pytest.raises(StoreUnavailableError):
                    store.load([lookup()])
                assert time.monotonic() - began < 10
            assert store.load([lookup()])[0].entity.version in {1, 2}
