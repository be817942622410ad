"""The checker: histories known to be bad and good, and a checker that tries every order."""

import random
from itertools import permutations, product

import pytest

from pystator.records import OutcomeKind
from pystator.testing.linearizability import Operation, can_be_ordered, find_window
from pystator.testing.models import Add, Count, Counting, Entities, Read, Stored, Write
from pystator.testing.windows import assert_linearizable, picture

APPLIED, STALE, DUPLICATE = OutcomeKind.APPLIED, OutcomeKind.STALE, OutcomeKind.DUPLICATE
KEY = ("e", "m")


def at(start, end, call, client="a"):
    return Operation(client, KEY, call, start, end)


def write(expected, name, outcome, *ids):
    return Write(expected, expected + 1, "open", name, name, frozenset(ids), outcome)


def append(outcome, *ids):
    return Write(1, 1, None, None, "note", frozenset(ids), outcome)


def read(version, name=None, asked=(), known=()):
    state = "open" if name else None
    return Read(version, state, name, name, frozenset(asked), frozenset(known))


GOOD = {
    "nothing": [],
    "one after the other": [
        at(0, 1, read(0)),
        at(2, 3, write(0, "x", APPLIED)),
        at(4, 5, read(1, "x")),
        at(6, 7, write(0, "y", STALE)),
        at(8, 9, write(1, "z", APPLIED)),
    ],
    "a read beside a write sees it or not": [
        at(0, 9, write(0, "x", APPLIED)),
        at(1, 2, read(0), "b"),
        at(3, 4, read(1, "x"), "c"),
    ],
    "the order of answers is not that of effects": [
        at(0, 9, write(0, "x", APPLIED)),
        at(1, 5, write(1, "y", APPLIED), "b"),
        at(6, 8, read(2, "y"), "c"),
    ],
    "of two creators one wins": [
        at(0, 9, write(0, "x", STALE)),
        at(1, 8, write(0, "y", APPLIED), "b"),
    ],
    "a lost answer that happened": [
        at(0, None, write(0, "x", None)),
        at(5, 6, read(0), "b"),
        at(7, 8, read(1, "x"), "b"),
        at(9, 10, write(1, "y", APPLIED), "b"),
    ],
    "a lost answer that did not": [
        at(0, None, write(0, "x", None)),
        at(5, 6, write(0, "y", APPLIED), "b"),
        at(7, 8, read(1, "y"), "b"),
    ],
    "a lost answer that never can": [
        at(0, 1, write(0, "y", APPLIED), "b"),
        at(2, None, write(0, "x", None)),
        at(5, 6, read(1, "y"), "b"),
    ],
    "a lost one sent again": [
        at(0, None, write(0, "x", None, "i")),
        at(2, 3, write(0, "x", STALE, "i")),
        at(4, 5, read(1, "x", ["i"], ["i"])),
    ],
    "a stale duplicate is either": [
        at(0, 1, write(0, "x", APPLIED, "i")),
        at(2, 3, write(0, "x", STALE, "i")),
        at(4, 5, write(0, "x", DUPLICATE, "i")),
        at(6, 7, write(1, "x", DUPLICATE, "i")),
    ],
    "rejections need no version": [
        at(0, 1, append(APPLIED, "i")),
        at(2, 3, read(0, None, ["i", "j"], ["i"])),
        at(4, 5, append(DUPLICATE, "i")),
        at(6, 7, append(APPLIED)),
    ],
    "what touches may be in either order": [
        at(0, 5, write(0, "x", APPLIED)),
        at(5, 6, read(0), "b"),
    ],
}

BAD = {
    "a lost update: two of one version": [
        at(0, 1, write(0, "x", APPLIED)),
        at(2, 5, write(1, "y", APPLIED), "b"),
        at(3, 6, write(1, "z", APPLIED), "c"),
    ],
    "two creators win": [
        at(0, 9, write(0, "x", APPLIED)),
        at(1, 8, write(0, "y", APPLIED), "b"),
    ],
    "a stale read": [
        at(0, 1, write(0, "x", APPLIED)),
        at(2, 3, write(1, "y", APPLIED)),
        at(4, 5, read(1, "x"), "b"),
    ],
    "a read of nothing after a write": [
        at(0, 1, write(0, "x", APPLIED)),
        at(4, 5, read(0), "b"),
    ],
    "a read that goes back": [
        at(0, 9, write(0, "x", APPLIED)),
        at(1, 2, read(1, "x"), "b"),
        at(3, 4, read(0), "c"),
    ],
    "a dirty read: of a commit that was stale": [
        at(0, 1, write(0, "x", APPLIED)),
        at(2, 9, write(0, "y", STALE), "b"),
        at(3, 4, read(1, "y"), "c"),
    ],
    "a torn read: the version of one, the context of another": [
        at(0, 1, write(0, "x", APPLIED)),
        at(2, 3, write(1, "y", APPLIED)),
        at(4, 5, Read(2, "open", "x", "y"), "b"),
    ],
    "stale, though nobody else wrote": [
        at(0, 1, write(0, "x", APPLIED)),
        at(2, 3, write(1, "y", STALE), "b"),
    ],
    "a duplicate of nothing": [at(0, 1, write(0, "x", DUPLICATE, "i"))],
    "an event id applied twice": [
        at(0, 1, write(0, "x", APPLIED, "i")),
        at(2, 3, write(1, "y", APPLIED, "i")),
    ],
    "an event id that is forgotten": [
        at(0, 1, write(0, "x", APPLIED, "i")),
        at(2, 3, read(1, "x", ["i"])),
    ],
    "an id that came before its commit": [
        at(0, 1, read(0, None, ["i"], ["i"])),
        at(2, 3, write(0, "x", APPLIED, "i")),
    ],
    "two rejections of one id": [
        at(0, 3, append(APPLIED, "i")),
        at(1, 2, append(APPLIED, "i"), "b"),
    ],
    "a lost answer that happened twice": [
        at(0, None, write(0, "x", None)),
        at(2, 3, write(0, "y", APPLIED), "b"),
        at(4, 5, read(1, "x"), "b"),
    ],
    "a lost answer before it was asked": [
        at(0, 1, read(1, "x"), "b"),
        at(2, None, write(0, "x", None)),
    ],
    "a lost answer that comes and goes": [
        at(0, None, write(0, "x", None)),
        at(1, 2, read(1, "x"), "b"),
        at(3, 4, read(0), "b"),
    ],
    "a version that nobody made": [at(0, 1, read(1, "x"))],
    "a version is missing": [
        at(0, 1, write(0, "x", APPLIED)),
        at(2, 3, write(2, "z", APPLIED)),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_has_an_order(name):
    assert_linearizable(GOOD[name])
    assert by_permutation(GOOD[name], Entities())


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_has_none(name):
    """Known to be bad whatever comes before, after and beside it."""
    assert not by_permutation(BAD[name], Entities())
    other = [Operation("z", ("f", "m"), write(0, "x", APPLIED), 0, 50)]
    with pytest.raises(AssertionError, match=r"\('e', 'm'\): these answers fit no order"):
        assert_linearizable(other + BAD[name])
    shuffled = BAD[name] + [at(100, 101, append(APPLIED), "late")]
    random.Random(1).shuffle(shuffled)
    assert find_window(shuffled, Entities()) is not None


# The window ---------------------------------------------------------------------------------------


def test_the_window_is_what_cannot_be_ordered_and_nothing_else():
    history = [at(10 * n, 10 * n + 5, write(n, f"c{n}", APPLIED)) for n in range(500)]
    history += [at(10 * n + 1, 10 * n + 9, read(n + 1, f"c{n}"), "r") for n in range(500)]
    assert_linearizable(history)
    history.append(at(3_007, 3_016, write(301, "other", APPLIED), "x"))
    window = find_window(history, Entities())
    assert [each.call.commit_id for each in window.operations] == ["other", "c301"]
    assert window.before == ["version 301 open c300 (c300)"]
    assert [each.call.commit_id for each in window.leading] == ["c298", "c299", "c300"]


def test_a_window_is_shown_so_that_one_can_read_it():
    history = [
        at(1_000_000, 1_100_000, write(0, "x", APPLIED)),
        at(2_000_000, 2_500_000, write(1, "y", APPLIED, "i-1"), "left"),
        at(2_100_000, None, write(2, "lost", None), "gone"),
        at(2_300_000, 3_000_000, write(1, "z", APPLIED), "right"),
        at(2_350_000, 2_400_000, read(1, "x"), "reader"),
    ]
    window = find_window(history, Entities())
    assert picture(window, Entities(), history).splitlines() == [
        "('e', 'm'): these answers fit no order of the calls",
        "",
        "  before: version 1 open x (x), after",
        "    a      commit of version 0 -> version 1 open x (x): applied",
        "",
        "  left   |--------------|                  commit 'i-1' of version 1 -> version 2 open y (y): applied",
        "  gone      |---...                        commit of version 2 -> version 3 open lost (lost): the answer was lost",
        "  right           |---------------------|  commit of version 1 -> version 2 open z (z): applied",
        "",
        "from 1.000 ms to 2.000 ms after the first call",
    ]


def test_the_first_of_several_faults_is_told():
    history = [
        at(0, 1, write(0, "x", APPLIED)),
        at(2, 3, read(7), "first"),
        at(4, 5, read(8), "second"),
    ]
    assert [each.client for each in find_window(history, Entities()).operations] == ["first"]


# Against every order ------------------------------------------------------------------------------


def by_permutation(operations, model) -> bool:
    """Try every order of the calls, with and without each that was lost."""
    lost = [each for each in operations if each.returned is None]
    answered = [each for each in operations if each.returned is not None]
    for chosen in product((False, True), repeat=len(lost)):
        happened = [each for each, is_in in zip(lost, chosen, strict=True) if is_in]
        for order in permutations(answered + happened):
            if _respects_time(order) and _explains(order, model):
                return True
    return False


def _respects_time(order) -> bool:
    for place, each in enumerate(order):
        for later in order[place + 1 :]:
            if later.returned is not None and later.returned < each.invoked:
                return False
    return True


def _explains(order, model) -> bool:
    state = model.start
    for each in order:
        state = model.step(state, each.call)
        if state is None:
            return False
    return True


def random_call(luck):
    way = luck.random()
    ids = luck.choice([(), (), ("i",), ("j",), ("i", "j")])
    if way < 0.35:
        version = luck.randrange(3)
        known = [name for name in ids if luck.random() < 0.4]
        return read(version, luck.choice(["x", "y", None]) if version else None, ids, known)
    if way < 0.45:
        return append(luck.choice([APPLIED, APPLIED, DUPLICATE, None]), *ids)
    outcome = luck.choice([APPLIED, APPLIED, STALE, DUPLICATE, None])
    return write(luck.choice([0, 0, 1, 2]), luck.choice("xy"), outcome, *ids)


def random_history(luck, size):
    """Calls of a few clients with random answers: some fit by chance."""
    history = []
    for _ in range(size):
        start = luck.randrange(12)
        call = random_call(luck)
        lost = isinstance(call, Write) and call.outcome is None
        end = None if lost else start + luck.randrange(1, 8)
        history.append(at(start, end, call))
    return history


def likely_history(luck, size):
    """Calls answered by a real register at a moment of theirs; sometimes one answer is wrong."""
    model = Entities()
    plans = []
    for number in range(size):
        start = luck.randrange(20)
        end = start + luck.randrange(1, 12)
        plans.append((luck.uniform(start, end), start, end, number))
    state = Stored()
    history = []
    for _, start, end, number in sorted(plans):
        if luck.random() < 0.4:
            ids = frozenset(luck.choice([(), ("i",), ("i", "j")]))
            known = ids & state.event_ids
            text = state.context or None
            call = Read(state.version, state.state or None, text, text, ids, known)
        else:
            expected = state.version if luck.random() < 0.7 else luck.randrange(3)
            ids = luck.choice([(), (), ("i",), ("j",)])
            options = [
                write(expected, f"c{number}", each, *ids) for each in (APPLIED, STALE, DUPLICATE)
            ]
            call = next(each for each in options if model.step(state, each) is not None)
            state = model.step(state, call)
            if luck.random() < 0.2:
                call.outcome = None
        lost = isinstance(call, Write) and call.outcome is None
        history.append(at(start, None if lost else end, call))
    wrong = luck.choice(history) if luck.random() < 0.5 else None
    if wrong is not None and isinstance(wrong.call, Read):
        wrong.call.version = max(0, wrong.call.version + luck.choice([-1, 1]))
    elif wrong is not None and wrong.returned is not None:
        wrong.call.outcome = luck.choice([APPLIED, STALE, DUPLICATE])
    return history


@pytest.mark.parametrize("make", [random_history, likely_history])
@pytest.mark.parametrize("count", [1_500, pytest.param(100_000, marks=pytest.mark.soak)])
def test_it_agrees_with_a_checker_that_tries_every_order(make, count):
    luck = random.Random(make.__name__)
    model = Entities()
    verdicts = [0, 0]
    for number in range(count):
        history = make(luck, luck.choice([2, 3, 4, 5, 5, 6]))
        expected = by_permutation(history, model)
        verdicts[expected] += 1
        assert can_be_ordered(history, model, model.start) is expected, (number, history)
        window = find_window(history, model)
        assert (window is None) is expected
        if window is not None:
            picture(window, model, history)
    assert min(verdicts) > count / 20


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.soak)])
def test_counters_agree_too(count):
    luck = random.Random(count)
    model = Counting()
    verdicts = [0, 0]
    for _ in range(count):
        history = []
        for _ in range(luck.choice([3, 4, 5, 6])):
            start = luck.randrange(8)
            call = luck.choice([Add(luck.randrange(1, 4)), Add(None), Count(luck.randrange(3))])
            end = None if call == Add(None) else start + luck.randrange(1, 6)
            history.append(at(start, end, call))
        expected = by_permutation(history, model)
        verdicts[expected] += 1
        assert (find_window(history, model) is None) is expected
    assert min(verdicts) > count / 20


# Large ones ---------------------------------------------------------------------------------------


def large_history(luck, count, clients, lost):
    """What clients of a right store see, who all write one entity; some answers are lost."""
    clocks = dict.fromkeys(range(clients), 0.0)
    plans = []
    for number in range(count):
        client = luck.randrange(clients)
        start = clocks[client] + luck.random() * 5
        end = start + luck.random() * 40
        clocks[client] = end
        plans.append((luck.uniform(start, end), start, end, client, number))
    state = Stored()
    history = []
    model = Entities()
    for _, start, end, client, number in sorted(plans):
        if luck.random() < 0.4:
            call = Read(state.version, state.state or None, state.context or None, None)
        else:
            expected = state.version - luck.choice([0, 0, 1]) if state.version else 0
            id_ = f"i{luck.randrange(count)}"
            options = [
                write(expected, f"c{number}", each, id_) for each in (APPLIED, STALE, DUPLICATE)
            ]
            call = next(each for each in options if model.step(state, each) is not None)
            state = model.step(state, call)
            if luck.random() < lost:
                call.outcome = None
        is_lost = isinstance(call, Write) and call.outcome is None
        moments = int(start * 1_000), None if is_lost else int(end * 1_000)
        history.append(Operation(f"c{client}", KEY, call, *moments))
    return history


@pytest.mark.parametrize("lost", [0, 0.05])
@pytest.mark.parametrize("clients", [4, 8])
def test_two_thousand_calls_are_checked(clients, lost):
    assert_linearizable(large_history(random.Random(clients), 2_000, clients, lost))


@pytest.mark.parametrize("lost", [0, 0.05])
def test_one_wrong_answer_among_two_thousand_is_found(lost):
    history = large_history(random.Random(4), 2_000, 4, lost)
    place = next(n for n in range(1_500, 2_000) if isinstance(history[n].call, Read))
    history[place].call.version -= 60
    window = find_window(history, Entities())
    assert history[place] in window.operations
    assert len(window.operations) < 12


def test_many_lost_answers_of_one_counter_are_checked():
    """Which of the lost additions happened does not matter, so it is not tried."""
    history = [at(number, None, Add()) for number in range(40)]
    history += [at(100 + number, 101 + number, Add(20 + number), "b") for number in range(1, 40)]
    assert find_window(history, Counting()) is None
    history.append(at(200, 201, Count(30)))
    assert find_window(history, Counting()) is not None
