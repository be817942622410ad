"""The laws of one call, over any answers: no network, no clock."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pystator import FSMError
from pystator.client.calls import Answer, Call, Lost
from pystator.client.exchange import Patience, Send, perform
from pystator.client.following import ENDED, Following
from pystator.client.reading import json_of

Reply = Answer | Lost

DONE = Answer(200, {}, b'{"done": true}')
REFUSED = Answer(409, {}, b'{"code": "guard_rejected", "detail": "no"}')
UNWRITTEN = Answer(503, {}, b'{"code": "store_unavailable", "detail": "busy", "written": false}')
UNSURE = [
    Lost(sure=False, why="cut"),
    Answer(502, {}, b"bad"),
    Answer(504, {}, b""),
    Answer(503, {}, b"{}"),
]
SURE = [Lost(sure=True, why="refused"), Answer(429, {"retry-after": "2"}, b"{}"), UNWRITTEN]

replies = st.lists(st.sampled_from([DONE, REFUSED, *UNSURE, *SURE]), min_size=1, max_size=12)


def run(
    call: Call[object], answers: Sequence[Reply], took: float, patience: Patience
) -> tuple[list[Reply], float, object]:
    """What was met until the end, the seconds it took, and the value or the error."""
    program = perform(call, patience, "http://there", 0.0)
    met: list[Reply] = []
    now, reply = 0.0, None
    try:
        while True:
            request = program.send(reply)
            if isinstance(request, Send):
                assert 0 < request.seconds <= patience.total - now + 1e-9
                met.append(answers[min(len(met), len(answers) - 1)])
                now += min(took, request.seconds)
                reply = (met[-1], now)
            else:
                now += request.seconds
                reply = now
    except StopIteration as done:
        return met, now, done.value
    except FSMError as error:
        return met, now, error


@given(replies, st.booleans(), st.sampled_from([0.0, 0.3, 4.0]), st.floats(0, 1))
def test_it_is_sent_again_only_when_nothing_is_done_twice(
    answers: list[Reply], again: bool, took: float, drawn: float
) -> None:
    call: Call[object] = Call("POST", "/x", json_of, again=again, doubt="who knows")
    patience = Patience(10.0, 5, lambda: drawn)
    met, seconds, value = run(call, answers, took, patience)
    *before, last = met
    assert len(met) <= 5
    assert seconds <= 10.0 + 1e-6
    for reply in before:
        assert reply in SURE or (again and reply in UNSURE), "what is answered is answered"
    if last is DONE:
        assert value == {"done": True}
    else:
        assert isinstance(value, FSMError)
        doubtful = last is not REFUSED and any(reply in UNSURE for reply in met)
        assert ("who knows" in value.message) == doubtful


@given(st.floats(0, 1))
def test_pauses_grow_and_are_never_shorter_than_asked(drawn: float) -> None:
    call: Call[object] = Call("GET", "/x", json_of, again=True)
    program = perform(call, Patience(1_000.0, 10, lambda: drawn), "http://there", 0.0)
    pauses: list[float] = []
    request = next(program)
    for number in range(9):
        headers = {"retry-after": "7"} if number == 8 else {}
        request = program.send((Answer(503, headers, b"{}"), 0.0))
        pauses.append(request.seconds)
        request = program.send(0.0)
    assert pauses[8] >= 7
    for number, pause in enumerate(pauses[:8]):
        most = min(5.0, 0.1 * 2**number)
        assert most / 2 <= pause <= most


ROW = (
    b'id: c2\nevent: transition\ndata: {"entity_id": "x", "machine_name": "m", "version": 1, "kind": "event",'
    b' "trigger": "go", "payload": null, "now": "2026-03-02T08:00:00+00:00", "changed": {}, "removed": [],'
    b' "source_state": "a", "target_state": "b", "actions": [], "success": true, "error_code": null,'
    b' "error_message": null, "event_id": null, "actor": null, "occurred_at": null, "duration_us": 1, "ref": null,'
    b' "machine_version": "1", "recorded_at": "2026-03-02T08:00:00+00:00"}\n\n'
)


def test_a_stream_that_is_ended_at_once_is_not_asked_for_ever_faster() -> None:
    """What only greets is no sign that it goes well; a row or a sign of life is."""
    following = Following("c0", (), Patience(10.0, 5, lambda: 1.0), "http://there", 10_000)
    waits = []
    for _ in range(5):
        following.call()
        assert list(following.take(b"retry: 1000\nid: c1\n\n")) == []
        waits.append(following.lost(ENDED, 0.0))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6]
    following.call()
    list(following.take(b"id: c1\n\n"))
    list(following.take(b": heartbeat\n\n"))
    assert following.lost(ENDED, 0.0) == 0.1


@given(st.lists(st.integers(1, 40), min_size=1, max_size=200))
def test_rows_are_cut_from_any_parts_and_a_part_of_one_is_none(sizes: list[int]) -> None:
    """The cursor moves with the row that is given, not with bytes that have come."""
    following = Following("c0", (), Patience(10.0, 5, lambda: 1.0), "http://there", 10_000)
    following.call()
    place = 0
    for size in sizes:
        part, place = ROW[place : place + size], place + size
        rows = list(following.take(part))
        assert (following.cursor == "c2") == (len(rows) == 1 or place - size >= len(ROW))
    assert following.call().headers["Last-Event-ID"] == ("c2" if place >= len(ROW) else "c0")
