"""The feed as services read it: pages with filters, and followers that miss nothing and repeat nothing."""

import asyncio
import random
from collections import defaultdict

import pytest

from pystator import InMemoryStateStore, Orchestrator, StateMachine, create_state_store
from pystator.service.choice import Choice
from pystator.service.following import backoff
from pystator.service.live import (
    NOW,
    BadCursorError,
    Live,
    NoFeedError,
    TooManyFollowersError,
)
from stores.three import Three

ALL = Choice()


def machine(name="order"):
    return StateMachine.from_dict(
        {
            "meta": {"machine_name": name},
            "states": [{"name": "open", "type": "initial"}, {"name": "filled"}],
            "transitions": [
                {"trigger": "fill", "source": "open", "dest": "filled"},
                {"trigger": "reopen", "source": "filled", "dest": "open"},
            ],
        }
    )


def text(row):
    return f"{row.entity_id} {row.version} {row.kind}"


def rows(*numbers):
    return [f"o {number} event" for number in numbers]


class Shop:
    """A store with two machines, and events of their entities."""

    def __init__(self, store):
        self.store = store
        self.orders = Orchestrator(machine(), store)
        self.loans = Orchestrator(machine("loan"), store)

    def turn(self, entity_id, times, orchestrator=None):
        orchestrator = orchestrator or self.orders
        state = (self.store.get_state(entity_id) or "open") if times else ""
        for _ in range(times):
            trigger = "fill" if state == "open" else "reopen"
            state = orchestrator.process_event(entity_id, trigger).target_state


@pytest.fixture
def shop():
    store = InMemoryStateStore()
    store.connect()
    return Shop(store)


def live_of(shop, **options):
    return Live(shop.store, text, **options)


async def taken(follower, number, seconds=5.0):
    found = []
    while len(found) < number:
        told = await follower.take(seconds)
        assert told, f"only {found}"
        found += told
    return found


# Pages --------------------------------------------------------------------------------------------


def test_pages_give_every_row_once_and_say_where_the_end_is(shop):
    shop.turn("o", 7)

    async def walk():
        live, cursor, found = live_of(shop), None, []
        while True:
            page = await live.page(ALL, cursor, 3)
            found += [row.version for row in page.items]
            cursor = page.next
            if page.end:
                return found, cursor, await live.page(ALL, NOW, 3)

    found, cursor, after_now = asyncio.run(walk())
    assert found == [1, 2, 3, 4, 5, 6, 7]
    assert (after_now.items, after_now.end) == ([], True)
    assert cursor == after_now.next


@pytest.mark.parametrize(
    ("choice", "versions"),
    [
        (Choice(trigger="fill"), [1, 3, 5, 5, 1]),
        (Choice(state="open"), [2, 4]),
        (Choice(success=False), [5]),
        (Choice(success=False, trigger="reopen"), []),
        (Choice(machine_names=["loan"]), [1]),
        (Choice(machine_names=["order"], trigger="reopen"), [2, 4]),
        (Choice(machine_names=[]), []),
        (Choice(entity_id="nobody"), []),
    ],
)
def test_filters_are_applied_over_as_many_pages_as_it_takes(shop, choice, versions):
    shop.turn("o", 5)
    shop.orders.process_event("o", "fill")  # filled already: refused
    shop.turn("l", 1, shop.loans)

    async def walk():
        live, cursor, found = live_of(shop), None, []
        for _ in range(20):
            page = await live.page(choice, cursor, 1)
            found += [row.version for row in page.items]
            cursor = page.next
            if page.end:
                return found
        raise AssertionError(found)

    assert asyncio.run(walk()) == versions


def test_a_cursor_of_something_else_is_told(shop):
    async def ask(cursor):
        await live_of(shop).page(ALL, cursor, 1)

    for cursor in (
        "nonsense",
        "",
        "\ud800",
        shop.store.entities(limit=0).next or "WyJlbnRpdGllcyJd",
    ):
        with pytest.raises(BadCursorError, match="is no cursor of this store's feed"):
            asyncio.run(ask(cursor))


def test_a_store_without_a_feed_says_so():
    from pystator.stores.adapt import lift

    async def ask():
        await Live(lift(Three()), text).page(ALL, None, 1)

    with pytest.raises(NoFeedError, match="no ordered feed"):
        asyncio.run(ask())


# Followers ----------------------------------------------------------------------------------------


def test_a_follower_without_a_cursor_begins_now(shop):
    shop.turn("o", 3)

    async def follow():
        live = live_of(shop)
        with await live.follow("me", ALL, None) as follower:
            assert await follower.take(0.2) == []
            shop.turn("o", 2)
            return [told.text for told in await taken(follower, 2)]

    assert asyncio.run(follow()) == rows(4, 5)


def test_a_follower_goes_on_behind_any_row_in_another_process(shop):
    shop.turn("o", 6)

    async def follow(cursor, number):
        with await live_of(shop).follow("me", ALL, cursor) as follower:
            return await taken(follower, number)

    first = asyncio.run(follow(asyncio.run(live_of(shop).page(ALL, None, 1)).next, 5))
    assert [told.text for told in first] == rows(*range(2, 7))
    for index, told in enumerate(first[:-1]):
        rest = asyncio.run(follow(told.cursor, 4 - index))
        assert rest == first[index + 1 :]


def test_followers_that_are_cut_at_any_moment_see_every_row_once_and_in_order(shop):
    """With a few recent rows only, so that they come now from there and now from the store."""
    number, entities = 40, [f"o-{n}" for n in range(5)]

    async def write():
        for _ in range(number):
            shop.turn(random.choice(entities), 3)
            await asyncio.sleep(random.random() * 0.01)

    async def storm(seed, choice, live):
        dice, cursor, found = random.Random(seed), None, []
        while True:
            with await live.follow(f"me-{seed}", choice, cursor or start) as follower:
                for cut in (False, False, True):
                    finished = done.is_set()
                    told = await follower.take(0.3)
                    if finished and not told:
                        return [each.text for each in found]
                    kept = dice.randrange(len(told) + 1) if cut else len(told)
                    found += told[:kept]
                    if kept:
                        cursor = told[kept - 1].cursor

    async def main():
        nonlocal start
        start = await shop.store.afeed_end()
        live = live_of(shop, recent=7)
        choices = [ALL, Choice(entity_id="o-1"), Choice(trigger="fill"), ALL]
        storms = [asyncio.create_task(storm(n, each, live)) for n, each in enumerate(choices)]
        await write()
        done.set()
        return choices, await asyncio.gather(*storms)

    start, done = "", asyncio.Event()
    choices, seen = asyncio.run(main())
    everything = shop.store.feed(None, 10_000).items
    for choice, texts in zip(choices, seen, strict=True):
        assert texts == [text(row) for row in everything if choice.takes(row)]
    versions = defaultdict(list)
    for each in seen[0]:
        versions[each.split()[0]].append(int(each.split()[1]))
    assert all(each == list(range(1, len(each) + 1)) for each in versions.values())


def test_one_watcher_reads_for_everybody_at_the_end(shop):
    reads = []

    async def main():
        live = live_of(shop)
        afeed = shop.store.afeed

        async def counted(*given, **named):
            reads.append(given)
            return await afeed(*given, **named)

        followers = [await live.follow(f"me-{n}", ALL, None) for n in range(30)]
        shop.turn("o", 2)
        for follower in followers:
            await taken(follower, 2)
        shop.store.afeed = counted
        for _ in range(4):
            shop.turn("o", 5)
            told = await asyncio.gather(*[taken(follower, 5) for follower in followers])
            assert all(each == told[0] for each in told)
        for follower in followers:
            follower.close()
        before = len(reads)
        await asyncio.sleep(0.3)
        assert len(reads) == before  # nobody listens, nobody looks

    asyncio.run(main())
    assert len(reads) < 60  # 30 followers with 4 looks of their own would be 120


def test_a_bounded_number_of_followers(shop):
    async def main():
        live = live_of(shop, most=3, most_each=2)
        first = await live.follow("a", ALL, None)
        await live.follow("a", ALL, None)
        with pytest.raises(TooManyFollowersError) as own:
            await live.follow("a", ALL, None)
        await live.follow("b", ALL, None)
        with pytest.raises(TooManyFollowersError) as all_of_them:
            await live.follow("c", ALL, None)
        first.close()
        first.close()
        await live.follow("c", ALL, None)
        return own.value, all_of_them.value, live.following

    own, all_of_them, following = asyncio.run(main())
    assert (own.own, own.most) == (True, 2)
    assert (all_of_them.own, all_of_them.most) == (False, 3)
    assert following == 3


def test_large_rows_are_read_few_at_a_time(shop):
    """So that a hundred followers that are behind do not need a hundred megabytes each."""
    for number in range(60):
        shop.orders.process_event("o", "knock", {"text": "x" * 200_000, "number": number})

    async def main():
        start = (await live_of(shop).page(ALL, None, 1)).next
        live = Live(shop.store, lambda row: f"{row.payload['number']} {row.payload['text']}")
        with await live.follow("me", ALL, start) as follower:
            found = []
            while sum(map(len, found)) < 59:
                found.append(await follower.take(5))
                assert found[-1]
            return found

    found = asyncio.run(main())
    assert [int(told.text.split()[0]) for part in found for told in part] == list(range(1, 60))
    assert max(len(part) for part in found) <= 16
    assert max(len(part) for part in found[1:]) <= 6


def test_however_long_a_store_is_down_it_is_looked_for_again():
    assert [backoff(failed) for failed in (1, 3, 100, 100_000)] == [0.2, 0.8, 5.0, 5.0]


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis", "mongodb"])
def test_every_store_with_a_feed_can_be_followed(kind, request, tmp_path):
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'live.db'}"
    else:
        url = request.getfixturevalue(f"{kind}_url")
    store = create_state_store(url)
    store.connect()
    shop = Shop(store)

    async def main():
        live = live_of(shop)
        chosen = Choice(machine_names=["order"], trigger="fill")
        with (
            await live.follow("a", ALL, None) as all_rows,
            await live.follow("a", chosen, None) as some,
        ):
            await asyncio.to_thread(shop.turn, "o", 4)
            await asyncio.to_thread(shop.turn, "l", 1, shop.loans)
            told = await taken(all_rows, 5)
            fills = await taken(some, 2)
        with await live.follow("a", ALL, told[2].cursor) as again:
            assert await taken(again, 2) == told[3:]
        page = await live.page(chosen, None, 10)
        if hasattr(store, "adisconnect"):
            await store.adisconnect()
        return [each.text for each in told], [each.text for each in fills], page

    told, fills, page = asyncio.run(main())
    store.disconnect()
    assert told == [*rows(1, 2, 3, 4), "l 1 event"]
    assert fills == rows(1, 3)
    assert [row.version for row in page.items] == [1, 3]
