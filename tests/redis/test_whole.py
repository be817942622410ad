"""A script is whole or nothing: whatever key is somebody else's, whatever the clock does, whatever names and numbers are made of."""

from dataclasses import replace

import pytest
import redis

from pystator.errors import FSMError
from pystator.records import Cut, EntryKind, OutcomeKind, Parcel
from pystator.stores.redis import RedisStateStore
from pystator.testing.building import applied, change, lookup, note

FAR = 2**41 + 5


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
def everywhere(request):
    with RedisStateStore(request.getfixturevalue(request.param)) as connected:
        yield connected


@pytest.fixture
def redis_client(request, everywhere):
    """A client of somebody else of the same server or cluster."""
    if everywhere.layout.is_cluster:
        url = request.getfixturevalue("redis_cluster_url").partition("?")[0]
        with redis.RedisCluster.from_url(url) as client:
            yield client
    else:
        yield request.getfixturevalue("admin")


def dump(admin, *left_out):
    """Every key with all that it has."""
    read = {
        "string": admin.get,
        "hash": admin.hgetall,
        "set": admin.smembers,
        "zset": lambda key: admin.zrange(key, 0, -1, withscores=True),
        "stream": admin.xrange,
    }
    return {key: read[admin.type(key)](key) for key in sorted(admin.keys()) if key not in left_out}


@pytest.mark.parametrize(
    "name",
    [
        "feed", "histories", "entities", "states", "due:m", "state:m:open",
        "state:m:paid", "replication", "epoch",
    ],
)  # fmt: skip
@pytest.mark.parametrize("commit", ["creates", "moves", "stays", "rejects"])
def test_no_commit_is_torn_by_a_key_of_somebody_else(store, admin, name, commit) -> None:
    """Either it does not need the key and is written, or nothing of it is there."""
    applied(store, change("old", timers={"t": (5, 1)}), change("other", state="paid"))
    if name == "replication":
        admin.set(f"{store.key_prefix}:epoch", "one")
    key = f"{store.key_prefix}:{name}"
    admin.delete(key)
    admin.sadd(key, "mine") if name != "states" else admin.set(key, "mine")
    before = dump(admin)
    made = {
        "creates": change("new", timers={"t": (9, 1)}, event_id="i"),
        "moves": change("old", after=1, state="paid", timers={}, event_id="i"),
        "stays": change("old", after=1, state="open", context={"n": 1}, event_id="i"),
        "rejects": note("old", version=1, event_id="i"),
    }[commit]
    try:
        [outcome] = store.commit([made])
    except FSMError:
        assert dump(admin) == before
        return
    if outcome.kind is OutcomeKind.APPLIED:
        rows = store.history(made.entity_id, machine_name="m").items
        assert rows[-1].commit_id == made.commit_id
        assert store.load([lookup(made.entity_id, "i")])[0].known.keys() == {"i"}
    else:
        assert outcome.kind is OutcomeKind.REFUSED
        assert dump(admin) == before


def test_neighbours_of_every_outcome_are_written_once(everywhere, redis_client) -> None:
    """Commits of one call share scripts: what one of them meets is its own, wherever it stands."""
    store = everywhere
    applied(store, *[change(f"e{n:02}", event_id=f"i{n}") for n in range(60)])
    for number in (7, 20, 59):
        redis_client.delete(store.layout.entity(f"e{number:02}"))
        redis_client.set(store.layout.entity(f"e{number:02}"), "mine")
    for number in (13, 21, 58):
        redis_client.delete(store.layout.history(f"e{number:02}", "m"))
        redis_client.set(store.layout.history(f"e{number:02}", "m"), "mine")
    expected = {}
    commits = []
    for n in range(60):
        name, kind = f"e{n:02}", OutcomeKind.APPLIED
        made = change(name, after=1, state=f"s{n % 3}", event_id=f"j{n}")
        if n in {7, 20, 59, 13, 21, 58}:
            kind = OutcomeKind.REFUSED
        elif n % 10 == 3:
            kind, made = OutcomeKind.STALE, change(name, after=5)
        elif n % 10 == 4:
            kind, made = OutcomeKind.DUPLICATE, change(name, after=1, event_id=f"i{n}")
        elif n % 10 == 5:
            made = note(name, version=1, event_id=f"j{n}")
        expected[name] = kind
        commits.append(made)
    assert [each.kind for each in store.commit(commits)] == list(expected.values())
    for name, kind in expected.items():
        if kind is not OutcomeKind.REFUSED:
            rows = store.history(name, machine_name="m").items
            assert len(rows) == 1 + (kind is OutcomeKind.APPLIED)
    for number in (13, 21, 58):
        redis_client.delete(store.layout.history(f"e{number:02}", "m"))
    done = sum(kind is OutcomeKind.APPLIED for kind in expected.values())
    told = store.feed(None, 1_000).items
    assert len([row for row in told if str(row.event_id).startswith("j")]) == done


def test_a_clock_that_stands_still_for_a_million_rows(store, admin) -> None:
    """A server whose clock went back counts on within its last millisecond, further than an id has room for."""
    feed = f"{store.key_prefix}:feed"
    admin.xadd(feed, {"row": "0" * 12 + "x\0m"}, id=f"{FAR}-{2**20 - 3}")
    admin.xtrim(feed, maxlen=0, approximate=False)
    applied(store, *[change(f"e{n}", steps=3) for n in range(3)])
    rows = store.feed().items
    ids = [row.id for row in rows]
    assert len(rows) == 9
    assert ids == sorted(set(ids))
    assert ids[:3] == [(FAR << 20) + 2**20 - 2, (FAR << 20) + 2**20 - 1, (FAR + 1) << 20]
    assert [row.id for n in range(3) for row in store.history(f"e{n}").items] == ids
    page = store.feed(None, 4)
    assert [row.id for row in page.items + store.feed(page.next).items] == ids
    assert store.prune_rows([Cut("e0", "m", ids[:2])]) == [2]
    assert [row.id for row in store.feed().items] == ids[2:]


def test_rows_of_a_cluster_have_ids_of_their_own(redis_cluster_url) -> None:
    """Its partitions number their rows apart, many in one millisecond; and run out of numbers sooner."""
    with RedisStateStore(redis_cluster_url) as store:
        applied(store, *[change(f"e{n}", steps=2) for n in range(400)])
        ids = [row.id for row in store.feed(None, 1_000).items]
        assert len(set(ids)) == 800
        feed = store.layout.shared("feed", store.layout.partition("e"))
        with redis.RedisCluster.from_url(redis_cluster_url.partition("?")[0]) as client:
            client.xadd(feed, {"row": "0" * 12 + "x\0m"}, id=f"{FAR}-{2**14 - 2}")
        applied(store, change("e", steps=3))
        rows = store.history("e").items
        part = store.layout.partition("e")
        last = (FAR << 20) + 2**20 - 64 + part
        assert [row.id for row in rows] == [
            last,
            ((FAR + 1) << 20) + part,
            ((FAR + 1) << 20) + 64 + part,
        ]
        assert [row.id for row in store.feed(None, 1_000).items[-3:]] == [row.id for row in rows]
        assert store.prune_rows([Cut("e", "m", [row.id for row in rows[:2]])]) == [2]
        assert [row.version for row in store.history("e").items] == [3]


@pytest.mark.parametrize("version", [2**31, 2**47])
def test_versions_beyond_what_a_script_can_count(everywhere, version) -> None:
    store = everywhere
    first = change(steps=1)
    applied(store, first)
    entity = store.load([lookup()])[0].entity
    row = store.history("e").items[0]
    [outcome] = store.restore(
        [
            Parcel(
                "e", "m", replace(entity, version=version),
                (replace(row, version=version, commit_id="c"),), 1, (1, row.commit_id),
            )
        ]
    )  # fmt: skip
    assert outcome.kind is OutcomeKind.APPLIED
    applied(store, change(after=version), change("f"))
    assert store.get_state_versioned("e") == ("open", version + 1)
    assert [each.version for each in store.history("e").items] == [1, version, version + 1]
    assert store.commit([change(after=version)])[0].kind is OutcomeKind.STALE


def test_a_version_that_cannot_be_stored_is_refused(store, admin) -> None:
    [outcome] = store.commit([note(version=16**12)])
    assert outcome.kind is OutcomeKind.REFUSED
    assert admin.keys() == []


def test_numbers_are_never_rounded(everywhere) -> None:
    """Of contexts, rows, times and deadlines: scripts hand texts on."""
    store = everywhere
    big = {"n": 2**53 + 1, "m": 10**30 + 1, "f": 0.1 + 0.2, "list": [2**64 + 1]}
    at = 2**57 + 1
    made = change(
        context=big, payload=big, patch=(big, ()), timers={"t": (at, 2**53 + 1)}, now=at,
        occurred_at=at, duration_us=at, ref=at,
    )  # fmt: skip
    applied(store, made)
    entity = store.load([lookup()])[0].entity
    [row] = store.history("e").items
    assert (entity.context, entity.timers, entity.state_since) == (big, {"t": (at, 2**53 + 1)}, at)
    assert (row.payload, row.patch, row.now, row.ref) == (big, (big, ()), at, at)
    assert store.due(at - 1, 9) == []
    assert store.due(at, 9) == [("e", "m")]


def test_nul_and_line_ends_in_what_is_said_are_kept(everywhere) -> None:
    """A row is a line of the stream of replication, and has no raw line end."""
    store = everywhere
    context = {"a\x00\n": "\x00\r\n\u2028\x1f"}
    made = change(
        context=context, payload=context, error_message="\n\x00\u0085", patch=(context, ("\n",))
    )
    applied(store, made)
    [row] = store.history("e").items
    assert (row.payload, row.error_message) == (context, "\n\x00\u0085")
    assert row.patch == (context, ("\n",))
    assert store.get_context("e") == context


def test_an_event_id_is_known_once_whatever_it_is(everywhere) -> None:
    store = everywhere
    ids = ["a", "%", "{}", "é" * 255, " ", "0", "state"]
    for version, each in enumerate(ids):
        applied(store, change(after=version, event_id=each))
    for each in ids:
        outcomes = store.commit([change(after=len(ids), event_id=each), note("f", event_id=each)])
        assert outcomes[0].kind is OutcomeKind.DUPLICATE
    known = store.load([lookup("e", *ids, "", "b")])[0].known
    assert {name: row.version for name, row in known.items()} == {
        n: v + 1 for v, n in enumerate(ids)
    }
    assert store.load([lookup("e", "")])[0].known == {}


def test_a_snapshot_is_no_event_id(everywhere) -> None:
    """Where the newest one stands is kept beside the ids, under one that no event has."""
    store = everywhere
    applied(store, change(steps=3))
    rows = store.history("e").items
    cut = Cut("e", "m", [row.id for row in rows[:2]], _snapshot(2), (), rows[0].id)
    assert store.prune_rows([cut]) == [2]
    assert store.load([lookup("e", "")])[0].known == {}
    applied(store, change(after=3, event_id="i"))
    assert store.load([lookup("e", "i", "")])[0].known.keys() == {"i"}


def _snapshot(version):
    return note(version=version, kind=EntryKind.SNAPSHOT, target_state="open", patch=({}, ()))


def test_a_machine_that_comes_second_has_an_entity_of_its_own(everywhere) -> None:
    """Whoever was first has the documented key; rows of nobody do not make a first one."""
    store = everywhere
    applied(store, note("e", machine="", version=0))
    applied(store, change("e", machine="b", context={"of": "b"}))
    applied(
        store, change("e", machine="", context={"of": ""}), change("e", machine="a:{}", context={})
    )
    applied(store, change("e", machine="", after=1, context={"of": "still"}, event_id="i"))
    assert store.commit([change("e", machine="b", after=7)])[0].kind is OutcomeKind.STALE
    assert store.machines("e") == ["", "a:{}", "b"]
    contexts = [store.get_context("e", machine_name=name) for name in ("", "a:{}", "b")]
    assert contexts == [{"of": "still"}, {}, {"of": "b"}]
    assert [len(store.history("e", machine_name=name).items) for name in ("", "a:{}", "b")] == [
        3,
        1,
        1,
    ]
    found = store.load([lookup("e", "i", machine=""), lookup("e", "i", machine="b")])
    assert [list(each.known) for each in found] == [["i"], []]
