"""The native protocol: a commit is written whole or not at all, whatever its neighbours do."""

from dataclasses import replace
from typing import Any, ClassVar

from pystator.errors import InvalidValueError
from pystator.records import EntryKind, OutcomeKind
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["CommitsContract"]


class CommitsContract(StoreTests):
    """``load`` and ``commit``."""

    def test_everything_of_an_entity_comes_back(self, drive: Driver) -> None:
        context = {"n": 1, "nested": {"list": [1, None]}}
        commit = change(
            state="a+b",
            context=context,
            history={"p": ["x", "y"]},
            timers={"t": (70, 1), "u": (50, 1)},
            now=5,
        )
        applied(drive, commit)
        entity = drive.load([lookup()])[0].entity
        assert entity.key == ("e", "m")
        assert (entity.version, entity.state, entity.context) == (1, "a+b", context)
        assert entity.history == {"p": ["x", "y"]}
        assert entity.timers == {"t": (70, 1), "u": (50, 1)}
        assert (entity.machine_version, entity.fingerprint) == ("1.0", "f" * 16)
        assert (entity.created_at, entity.updated_at) == (5, 5)
        assert entity.commit_id == commit.commit_id

    def test_none_leaves_what_is_stored(self, drive: Driver) -> None:
        applied(drive, change(context={"n": 1}, history={"p": ["x"]}, timers={"t": (70, 1)}, now=5))
        applied(drive, change(after=1, state=None, now=9))
        entity = drive.load([lookup()])[0].entity
        assert (entity.version, entity.state, entity.context) == (2, "open", {"n": 1})
        assert (entity.history, entity.timers) == ({"p": ["x"]}, {"t": (70, 1)})
        assert (entity.created_at, entity.updated_at) == (5, 9)
        applied(drive, change(after=2, context={}, history={}, timers={}))
        entity = drive.load([lookup()])[0].entity
        assert (entity.context, entity.history or None, entity.timers) == ({}, None, {})

    def test_loads_answer_in_order_with_gaps(self, drive: Driver) -> None:
        applied(drive, *[change(f"e{n}", state=f"s{n}") for n in range(5)])
        applied(drive, change("e1", machine="other", state="elsewhere"))
        wanted = ["e3", "nobody", "e0", "e3", "e4"]
        loaded = drive.load([lookup(name) for name in wanted])
        states = [each.entity and each.entity.state for each in loaded]
        assert states == ["s3", None, "s0", "s3", "s4"]
        assert drive.load([lookup("e1", machine="other")])[0].entity.state == "elsewhere"
        assert drive.load([]) == []
        assert drive.commit([]) == []

    def test_one_entity_is_loaded_as_among_many(self, store: Any) -> None:
        with Driver(store, "sync") as drive:
            applied(drive, change(context={"n": [1]}, timers={"t": (70, 1)}))
        assert store.load_one("e", "m") == store.load([lookup()])[0].entity
        assert store.load_one("e", "other") is None
        store.load_one("e", "m").context["n"].append(2)
        assert store.load_one("e", "m").context == {"n": [1]}

    def test_a_run_of_events_is_one_commit(self, drive: Driver) -> None:
        applied(drive, change(steps=3, context={"n": 3}))
        assert drive.load([lookup()])[0].entity.version == 3
        rows = drive.history("e").items
        assert [row.version for row in rows] == [1, 2, 3]
        assert len({row.commit_id for row in rows}) == 1
        applied(drive, change(after=3, steps=2))
        assert drive.load([lookup()])[0].entity.version == 5

    def test_a_stale_commit_writes_nothing(self, drive: Driver) -> None:
        applied(drive, change(context={"n": 1}))
        for stale in (
            change(context={"n": 9}, state="x", event_id="i"),
            change(after=2, context={"n": 9}, state="x", timers={"t": (1, 3)}),
            change("other", after=1, context={"n": 9}),
        ):
            assert drive.commit([stale])[0].kind is OutcomeKind.STALE
        entity = drive.load([lookup()])[0].entity
        assert (entity.version, entity.state, entity.context) == (1, "open", {"n": 1})
        assert drive.load([lookup("other", "i")])[0].entity is None
        assert drive.load([lookup("e", "i")])[0].known == {}
        assert len(drive.history("e").items) == 1
        assert drive.history("other", machine_name="m").items == []
        assert drive.due(99, 9) == []

    def test_neighbours_of_a_batch_have_their_own_outcomes(self, drive: Driver) -> None:
        applied(drive, change("stale"), change("twice", event_id="i"))
        outcomes = drive.commit(
            [
                change("new"),
                change("stale", after=7, state="x"),
                change("twice", after=1, state="x", event_id="i"),
                change("refused", context={"a": {1}}),
                change("\x00"),
                change("last", context={"n": 1}),
            ]
        )
        kinds = [outcome.kind for outcome in outcomes]
        assert kinds == ["applied", "stale", "duplicate", "refused", "refused", "applied"]
        assert isinstance(outcomes[3].error, InvalidValueError)
        assert outcomes[3].error.context["path"] == "context.a"
        names = ("new", "stale", "twice", "refused", "last")
        loaded = drive.load([lookup(name) for name in names])
        states = [each.entity and each.entity.state for each in loaded]
        assert states == ["open", "open", "open", None, "open"]

    def test_a_rejection_leaves_a_row_and_no_trace_else(self, drive: Driver) -> None:
        applied(drive, note("nobody", version=0, error_code="terminal_state"))
        assert drive.load([lookup("nobody")])[0].entity is None
        assert drive.machines("nobody") == []
        assert drive.list_entities() == []
        [row] = drive.history("nobody", machine_name="m").items
        assert (row.version, row.kind, row.success) == (0, EntryKind.REJECTED, False)
        applied(drive, change("nobody", now=3), note("nobody", version=1, now=9))
        entity = drive.load([lookup("nobody")])[0].entity
        assert (entity.version, entity.created_at, entity.updated_at) == (1, 3, 3)

    def test_a_rejection_does_not_compare_the_version(self, drive: Driver) -> None:
        """It changes nothing: which version it saw is a fact, and never a conflict."""
        applied(drive, change(steps=3))
        applied(drive, note(version=1), note(version=3))
        assert drive.load([lookup()])[0].entity.version == 3

    def test_commits_that_make_no_sense_are_refused(self, drive: Driver) -> None:
        applied(drive, change())
        good = change(after=1)
        for bad in (
            replace(good, new_version=0),
            replace(good, expected_version=-1),
            replace(good, entries=()),
            replace(change("new"), state=None),
            replace(change("new"), context=None),
            replace(good, state="\n"),
            replace(good, machine_name="\ud800"),
            replace(good, entries=(replace(good.entries[0], trigger="\x00"),)),
            replace(good, entries=(replace(good.entries[0], event_id="x" * 256),)),
        ):
            [outcome] = drive.commit([bad])
            assert outcome.kind is OutcomeKind.REFUSED
            assert isinstance(outcome.error, InvalidValueError)
        assert drive.load([lookup()])[0].entity.version == 1
        assert drive.load([lookup("new")])[0].entity is None

    def test_a_refused_part_refuses_the_whole(self, drive: Driver) -> None:
        applied(drive, change(context={"n": 1}))
        for bad in (
            change(after=1, context={"n": {1}}),
            change(after=1, payload={"p": (1,)}),
            change(after=1, patch=({"n": object()}, ())),
            change(after=1, actions=({"name": "a", "params": {1: 2}},)),
            change(after=1, steps=2, context={"n": float("nan")}),
        ):
            assert drive.commit([bad])[0].kind is OutcomeKind.REFUSED
        entity = drive.load([lookup()])[0].entity
        assert (entity.version, entity.context) == (1, {"n": 1})
        assert len(drive.history("e").items) == 1

    def test_nothing_is_kept_by_reference(self, drive: Driver) -> None:
        context: dict[str, Any] = {"list": [1], "n": 1}
        payload = {"p": [1], "q": 1}
        params = {"a": [1]}
        timers = {"t": (70, 1)}
        history = {"p": ["x"]}
        patch = ({"list": [1], "n": 1}, ())
        applied(
            drive,
            change(
                context=context,
                payload=payload,
                patch=patch,
                timers=timers,
                history=history,
                actions=({"name": "act", "params": params},),
            ),
        )
        context["list"].append(2)
        context["n"] = payload["q"] = patch[0]["n"] = 2
        payload["p"] = patch[0]["list"] = []
        params["a"].append(2)
        timers.clear()
        history["p"].append("y")
        for _ in range(2):
            entity = drive.load([lookup()])[0].entity
            [row] = drive.history("e").items
            assert entity.context == {"list": [1], "n": 1}
            assert (entity.timers, entity.history) == ({"t": (70, 1)}, {"p": ["x"]})
            assert row.payload == {"p": [1], "q": 1}
            assert row.patch == ({"list": [1], "n": 1}, ())
            assert row.actions == ({"name": "act", "params": {"a": [1]}},)
            entity.context["list"].append(3)
            entity.context["new"] = 1
            entity.timers.clear()
            entity.history["p"].append("z")
            row.payload["p"].append(3)
            row.patch[0]["list"].append(3)
            row.actions[0]["params"]["a"].append(3)

    def test_a_context_whose_patch_says_less_is_kept_all_the_same(self, drive: Driver) -> None:
        """The context is what is stored; the patch is what history tells of it."""
        applied(drive, change(context={"a": 1, "b": 2}, patch=({"a": 1, "b": 2}, ())))
        applied(drive, change(after=1, context={"a": 1, "c": 3}, patch=({"c": 3}, ("b",))))
        assert drive.get_context("e") == {"a": 1, "c": 3}
        applied(drive, change(after=2, context={"d": 4}, patch=({"x": 1}, ())))
        assert drive.get_context("e") == {"d": 4}
        applied(drive, change(after=3, context={"d": 4.0}))
        applied(drive, change(after=4, context={"d": 4.0, "b": True}, patch=({"b": 1}, ())))
        assert ascii(drive.get_context("e")) == "{'d': 4.0, 'b': True}"

    large_batch: ClassVar[int] = 1_200
    """Commits of the largest call."""

    def test_a_large_batch_is_one_call(self, drive: Driver) -> None:
        names = [f"e{n:04}" for n in range(self.large_batch)]
        applied(drive, *[change(name, context={"name": name}) for name in reversed(names)])
        loaded = drive.load([lookup(name) for name in names])
        assert [each.entity.context["name"] for each in loaded] == names
