"""Clients that load and commit at random, all at once, for histories to be checked.

A client is a generator: it yields the name of a method and its arguments, and is sent the answer.
Threads, tasks and other processes run the same clients.
"""

import asyncio
import random
import threading
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

from pystator.records import Commit, Entity, Loaded, Lookup, Outcome, OutcomeKind
from pystator.testing.building import change, lookup, note

__all__ = ["NAMES", "client", "run_blocking", "run_tasks", "run_threads"]

Client = Generator[tuple[str, Any], Any, None]

NAMES: Final[tuple[str, ...]] = ("e0", "e1", "e2")
"""The entities that clients meet at."""

_IDS: Final = tuple(f"i{number}" for number in range(12))
"""Event ids that several clients use."""


def client(name: str, calls: int, seed: object) -> Client:
    """A client that makes so many calls.

    It loads one or several entities, with event ids or without, lists them, reads their history;
    commits to what it saw last, or to what it knows to be old; leaves rejections; and sends a
    commit again that it has sent before.
    When a call raises, its driver sends None, and the client goes on.

    Args:
        name: Its own, which is in the contexts it writes.
        calls: How many.
        seed: What its choices follow from.
    """
    luck = random.Random(f"{name} {seed}")  # noqa: S311 - choices, no secrets
    versions: dict[str, int] = dict.fromkeys(NAMES, 0)
    sent: list[Commit] = []
    for number in range(calls):
        way = luck.random()
        chosen = luck.sample(NAMES, luck.choice([1, 1, 1, 2, 3]))
        if way < 0.25:
            loaded: list[Loaded] | None = yield "load", _lookups(luck, chosen)
            for each, found in zip(chosen, loaded or [], strict=False):
                versions[each] = 0 if found.entity is None else found.entity.version
        elif way < 0.4:
            found_one: Entity | None = yield "load_one", (chosen[0], "m")
            if found_one is not None:
                versions[chosen[0]] = found_one.version
        elif way < 0.5:
            yield _glance(luck, chosen[0])
        elif way < 0.58 and sent:
            yield "commit", [luck.choice(sent[-8:])]
        else:
            commits = [_commit(luck, name, number, each, versions[each]) for each in chosen]
            outcomes: list[Outcome] | None = yield "commit", commits
            sent += commits
            _heed(versions, commits, outcomes or [])


def _heed(versions: dict[str, int], commits: Sequence[Commit], outcomes: Sequence[Outcome]) -> None:
    for commit, outcome in zip(commits, outcomes, strict=False):
        if outcome.kind is OutcomeKind.APPLIED:
            versions[commit.entity_id] = commit.new_version
        elif outcome.kind is OutcomeKind.STALE:
            versions[commit.entity_id] += 1  # somebody was first


def _glance(luck: random.Random, name: str) -> tuple[str, Any]:
    """A read whose answer the client does not use."""
    if luck.random() < 0.5:
        return "entities", {"machine_name": "m"}
    return "history", (name, {"machine_name": "m", "newest_first": True, "limit": 4})


def _lookups(luck: random.Random, names: Iterable[str]) -> list[Lookup]:
    return [lookup(name, *luck.sample(_IDS, luck.choice([0, 1, 3]))) for name in names]


def _commit(luck: random.Random, name: str, number: int, entity_id: str, version: int) -> Commit:
    event_id = luck.choice(_IDS) if luck.random() < 0.1 else f"{name}-{number}"
    if luck.random() < 0.1:
        return note(entity_id, version=version, event_id=event_id)
    return change(
        entity_id,
        after=max(0, version - luck.choice([0] * 9 + [1])),
        steps=luck.choice([1, 1, 1, 2]),
        state=luck.choice(["open", "left+right"]),
        context={"by": name, "n": number},
        event_id=luck.choice([None, event_id]),
    )


# Running them -------------------------------------------------------------------------------------


def _call(store: Any, name: str, arguments: Any, prefix: str = "") -> Any:
    method = getattr(store, prefix + name)
    if name == "load_one":
        return method(*arguments)
    if name == "entities":
        return method(**arguments)
    return method(arguments[0], **arguments[1]) if name == "history" else method(arguments)


def run_blocking(store: Any, made: Client) -> None:
    """Run a client by blocking calls.

    Args:
        store: A `RecordingStore`; a call that raises told the client nothing.
        made: The client.
    """
    answer: Any = None
    while True:
        try:
            name, arguments = made.send(answer)
        except StopIteration:
            return
        try:
            answer = _call(store, name, arguments)
        except ConnectionError:
            answer = None


async def _run(store: Any, made: Client) -> None:
    answer: Any = None
    while True:
        try:
            name, arguments = made.send(answer)
        except StopIteration:
            return
        try:
            if name == "load_one":  # there is no such twin
                [loaded] = await store.aload([Lookup(*arguments)])
                answer = loaded.entity
            else:
                answer = await _call(store, name, arguments, "a")
        except ConnectionError:
            answer = None


def run_tasks(pairs: Sequence[tuple[Any, Client]]) -> None:
    """Run clients at once as tasks of one loop.

    Args:
        pairs: The store and the client of each.
    """

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for store, made in pairs:
                group.create_task(_run(store, made))

    asyncio.run(run())


def run_threads(pairs: Sequence[tuple[Any, Client]]) -> None:
    """Run clients at once, each in a thread.

    Args:
        pairs: The store and the client of each.

    Raises:
        BaseException: The first that a client raised.
    """
    errors: list[BaseException] = []
    start = threading.Barrier(len(pairs))

    def run(store: Any, made: Client) -> None:
        start.wait()
        try:
            run_blocking(store, made)
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
