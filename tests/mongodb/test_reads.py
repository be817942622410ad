"""Reads: each is bounded by an index, and history is that of one moment."""

from datetime import timedelta

import pytest
from pymongo import MongoClient

from mongodb.actors import Actor
from pystator.errors import AmbiguousEntityError, StoreUnavailableError
from pystator.records import EntryKind, StoredMachine
from pystator.stores.mongodb import feed, machines, reads
from pystator.stores.mongodb.documents import ENTITY, id_of
from pystator.stores.mongodb.errors import Unanswered
from pystator.stores.mongodb.link import Link, Request
from pystator.stores.mongodb.relay import Numbers
from pystator.testing.building import applied, change, note


def commands(link: Link, operation):
    """The reads an operation sends."""
    sent = []
    answer = None
    try:
        while True:
            request = operation.send(answer)
            sent.append(request.command)
            answer = link.ask(request)
    except StopIteration:
        return sent


def indexes_of(link: Link, command, expected: str) -> set[str]:
    """The indexes by which the server finds what is asked for, or COLLSCAN.

    A server other than MongoDB's, which plans in its own way, is told which one to take.
    """
    plain = {name: value for name, value in command.items() if name != "readConcern"}
    reply = link.ask(Request({"explain": plain, "verbosity": "queryPlanner"}, reads=True))
    if reply["serverInfo"]["host"] == "secantus":
        plain["hint"] = expected
        reply = link.ask(Request({"explain": plain, "verbosity": "queryPlanner"}, reads=True))
    return set(names_in([reply.get("queryPlanner"), reply.get("stages")]))


def names_in(plan):
    """Names of indexes in a plan, whatever its form."""
    if isinstance(plan, dict):
        if plan.get("stage") == "COLLSCAN":
            yield "COLLSCAN"
        if "indexName" in plan:
            yield plan["indexName"]
        for name, value in plan.items():
            if name != "rejectedPlans":
                yield from names_in(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from names_in(value)


@pytest.mark.parametrize(
    ("operation", "index"),
    [
        (reads.machines("e05"), "_id_"),
        (reads.entities(None, None, None, None, 5, archived=False), "_id_"),
        (reads.entities("left", None, None, None, 5, archived=False), "leaves"),
        (reads.entities("left", ["m"], 10, None, 5, archived=False), "leaves"),
        (reads.entities(None, ["m"], None, None, 5, archived=False), "states"),
        (reads.count_by_state(None, archived=False), "states"),
        (reads.count_by_state(["m"], archived=False), "states"),
        (reads.due(1_000, 5, None), "due"),
        (reads.due(1_000, 5, "m"), "due"),
        (feed.feed(None, 5, None, None, Numbers()), "feed"),
        (feed.feed(None, 5, ["m"], None, Numbers()), "feed"),
    ],
    ids=[
        "machines", "all", "leaf", "leaf-since", "of-machine", "count", "count-machine", "due",
        "due-machine", "feed", "feed-machine",
    ],
)  # fmt: skip
def test_an_index_finds_what_is_asked_for(store, operation, index) -> None:
    applied(
        store,
        *[
            change(f"e{number:02}", state="left+right", timers={"t": (number, 1)}, now=1)
            for number in range(20)
        ],
    )
    store.feed(None, 100)
    link = store.parts[0]
    [command] = commands(link, operation)
    assert indexes_of(link, command, index) == {index}


@pytest.mark.parametrize("newest_first", [False, True])
def test_history_is_found_by_its_index(store, newest_first: bool) -> None:
    applied(store, change(steps=9), change("f", steps=9))
    store.feed(None, 100)
    link = store.parts[0]
    page = store.history("e", limit=3, newest_first=newest_first)
    read = reads.history("e", "m", page.next, 3, newest_first=newest_first)
    _, *filed = commands(link, read)
    assert [indexes_of(link, command, "history") for command in filed] == [{"history"}] * 2


def test_what_waits_is_found_by_an_index(store) -> None:
    applied(store, change())
    link = store.parts[0]
    sent = commands(link, feed.feed(None, 5, None, None, Numbers()))
    [waiting] = [each for each in sent if each.get("filter", {}).get("waiting")]
    assert indexes_of(link, waiting, "waiting") == {"waiting"}


def test_an_entity_that_the_server_meets_twice_comes_once() -> None:
    """It may, when an entity changes under a walk along an index."""
    documents = []
    for name in "aabb":
        fields = dict.fromkeys(ENTITY, 1)
        fields |= {"_id": id_of(name, "m"), "entity_id": name, "machine_name": "m", "state": "s"}
        documents.append(
            fields | {"context": "{}", "history": None, "timers": None, "archived_at": None}
        )
    read = reads.entities("s", None, None, None, 3, archived=False)
    read.send(None)
    with pytest.raises(StopIteration) as end:
        read.send(documents)
    page = end.value.value
    assert [entity.entity_id for entity in page.items] == ["a", "b"]
    assert page.next is not None


def test_rows_relayed_between_the_two_reads_are_no_gap(store) -> None:
    """The document is read, and then a row with an old version and a new one come and are filed."""
    applied(store, change(steps=3))
    store.feed()
    link = store.parts[0]
    page = store.history("e", limit=1)
    read = reads.history("e", "m", page.next, 10, newest_first=False)
    answers = [link.ask(read.send(None))]
    answers.append(link.ask(read.send(answers[-1])))  # rows of the cursor's version
    applied(store, note(version=1, kind=EntryKind.ACTION, ref=1), change(after=3, steps=1))
    store.feed()
    pages = []
    rest = Actor(link, read, pages.append)
    rest.answer = answers[-1]
    rest.run()
    assert [(row.version, str(row.kind)) for row in pages[0].items] == [
        (1, "action"), (2, "event"), (3, "event"), (4, "event"),
    ]  # fmt: skip


def test_machines_of_rows_only_are_ambiguous_while_they_have_rows(store) -> None:
    applied(store, note("e", machine="x", version=0), note("e", machine="y", version=0))
    with pytest.raises(AmbiguousEntityError, match="'x', 'y'"):
        store.history("e")
    store.feed()
    with pytest.raises(AmbiguousEntityError):
        store.history("e")
    store.prune_history(timedelta(0), machine_name="x")
    assert [row.machine_name for row in store.history("e").items] == ["y"]
    assert store.machines("e") == []


def test_a_user_may_query_the_documents_himself(store, mongodb_url) -> None:
    applied(store, change(state="left+right", context={"n": 1}), change("f", state="open"))
    with MongoClient(mongodb_url) as client:
        database = client.get_default_database()
        found = database.entity_states.find_one({"entity_id": "e"})
        assert (found["state"], found["leaves"]) == ("left+right", ["left", "right", "left+right"])
        assert (found["version"], found["context"], found["machine_name"]) == (1, '{"n":1}', "m")
        assert database.entity_states.count_documents({"leaves": "open"}) == 1


def test_a_machine_that_was_stored_with_a_lost_answer_is_new(store, mongodb_url) -> None:
    """The insert is sent again, and finds its own document."""
    link = store.parts[0]
    machine = StoredMachine("order", "1", "f", None, "{}", 1)
    saving = machines.save_machine(machine)
    request = saving.send(None)
    link.ask(request)
    request = saving.throw(Unanswered(StoreUnavailableError("lost"), is_lost=True))
    request = saving.send(link.ask(request))
    with pytest.raises(StopIteration) as end:
        saving.send(link.ask(request))
    assert end.value.value is True
    assert store.save_machine(machine) is False
