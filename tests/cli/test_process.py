"""``process``: a stream becomes states, exactly once, and whatever was refused can be looked at and fed back."""

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

MACHINE = """\
meta: {machine_name: door, version: "1.0"}
states:
  - {name: closed, type: initial}
  - {name: open}
  - {name: broken, type: terminal}
transitions:
  - {trigger: push, source: closed, dest: open, actions: [{increment: pushes}]}
  - {trigger: pull, source: open, dest: closed, guards: [{expr: force > 1}]}
  - {trigger: smash, source: "*", dest: broken, actions: [{timestamp: smashed_at}]}
"""

DB = "sqlite:///doors.db"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path) -> Path:
    """The machine file."""
    path = tmp_path / "door.yaml"
    path.write_text(MACHINE)
    return path


def event(entity: str, trigger: str, event_id: str | None, **more: Any) -> dict[str, Any]:
    """One line."""
    named = {} if event_id is None else {"event_id": event_id}
    return {"entity_id": entity, "trigger": trigger, **named, **more}


EVENTS = [
    event("d-1", "push", "1"),
    event("d-1", "pull", "2", context={"force": 5}),
    event("d-2", "push", "3"),
    event("d-2", "push", "4"),
    event("d-2", "pull", "5", context={"force": 0}),
    event("d-3", "kick", "6"),
    event("d-1", "push", "1"),
    event("d-3", "smash", "7"),
    event("d-3", "push", "8"),
]


def write(path: Path, events: Iterable[Any]) -> Path:
    """A file of events; a text is a line as it is."""
    path.write_text(
        "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in events)
    )
    return path


@pytest.fixture
def run(cli: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Process events into doors.db and give the summary."""

    def process(events: Iterable[Any] | Path, *options: object, name: str = "events.jsonl") -> Any:
        path = events if isinstance(events, Path) else write(tmp_path / name, events)
        return cli("process", "-m", "door.yaml", "-e", path, "--db", DB, "--json", *options)

    return process


def lines(path: Path) -> list[Any]:
    """A file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_summary_counts_every_line_once(run: Callable[..., Any]) -> None:
    answer = run([*EVENTS, "{damaged"])
    assert answer.code == 0
    told = answer.json
    assert told["events"] == 10
    assert told["applied"] == 4
    assert told["known"] == {"applied": 1, "rejected": 0}
    assert {"total": 5, "by_reason": told["rejected"]["by_reason"]} == told["rejected"]
    assert told["rejected"]["by_reason"] == {
        "no_transition": 1,
        "guard_rejected": 1,
        "undefined_trigger": 1,
        "terminal_state": 1,
        "malformed": 1,
    }
    assert told["entities"] == {"total": 3, "by_state": {"broken": 1, "closed": 1, "open": 1}}
    assert told["machine"] == "door"


def test_the_summary_is_readable(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", EVENTS)
    answer = cli("process", "-m", "door.yaml", "-e", path, "--db", DB)
    assert answer.code == 0
    assert "9 events in" in answer.out
    assert "applied" in answer.out
    assert "guard_rejected" in answer.out
    assert "--rejects FILE keeps them" in answer.out
    assert "3 entities by state" in answer.out
    assert "\x1b" not in answer.out


def test_a_second_run_applies_nothing(run: Callable[..., Any], tmp_path: Path) -> None:
    """The promise of event ids: run it again, whatever happened."""
    rejects = tmp_path / "rejects.jsonl"
    first = run(EVENTS, "--rejects", rejects).json
    kept = rejects.read_text()
    second = run(EVENTS, "--rejects", rejects).json
    assert second["applied"] == 0
    assert second["rejected"]["total"] == 0
    assert second["known"] == {"applied": 5, "rejected": 4}
    assert first["entities"] == second["entities"]
    assert kept == rejects.read_text()


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_size_of_batches_changes_nothing(
    run: Callable[..., Any], tmp_path: Path, size: int
) -> None:
    rejects = tmp_path / "rejects.jsonl"
    told = run(EVENTS, "--batch", size, "--rejects", rejects).json
    assert told["applied"] == 4
    assert [line["event_id"] for line in lines(rejects)] == ["4", "5", "6", "8"]


def test_rejects_are_the_lines_with_their_reasons(run: Callable[..., Any], tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    run([*EVENTS[:5], "{damaged"], "--rejects", rejects)
    stale, guarded, damaged = lines(rejects)
    mark = guarded.pop("_rejected")
    assert EVENTS[4] == guarded
    assert (
        mark["reason"],
        mark["line"],
        mark["state"],
        mark["attempt"],
    ) == ("guard_rejected", 5, "open", 1)
    assert "force > 1" in mark["message"] or "guard" in mark["message"]
    assert stale["_rejected"]["reason"] == "no_transition"
    assert damaged["_raw"] == "{damaged"
    assert (damaged["_rejected"]["reason"], damaged["_rejected"]["line"]) == ("malformed", 6)


def test_rejects_are_fed_back_under_new_ids(run: Callable[..., Any], tmp_path: Path) -> None:
    """An event that came too early is applied when it is fed back later, and once only."""
    early, late = event("d-9", "pull", "b", context={"force": 3}), event("d-9", "push", "a")
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert run([early, late], "--rejects", first).json["rejected"]["total"] == 1
    again = run(first, "--rejects", second).json
    assert (again["applied"], again["rejected"]["total"]) == (1, 0)
    assert again["entities"]["by_state"] == {"closed": 1}
    assert run(first).json["known"]["applied"] == 1
    assert second.read_text() == ""


def test_an_event_may_be_rejected_again_and_again(run: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "0.jsonl", [event("d-1", "pull", "x")])
    for attempt in (1, 2, 3):
        rejects = tmp_path / f"{attempt}.jsonl"
        assert run(path, "--rejects", rejects).json["rejected"]["total"] == 1
        (line,) = lines(rejects)
        assert ("x", attempt) == (line["event_id"], line["_rejected"]["attempt"])
        path = rejects


def test_rejects_never_overwrite_the_events(run: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", EVENTS)
    answer = run(path, "--rejects", path)
    assert answer.code == 2
    assert "would overwrite" in answer.err
    assert len(lines(path)) == 9


def test_events_without_ids_are_warned_about(run: Callable[..., Any]) -> None:
    """Nothing is derived silently: two equal lines may well be two events."""
    answer = run([event("d-1", "push", None), event("d-1", "smash", None)])
    assert answer.json["without_event_id"] == 2
    assert answer.err.count("has no event_id") == 1


def test_ids_from_lines_make_a_file_repeatable(run: Callable[..., Any], tmp_path: Path) -> None:
    events = [event("d-1", "push", None), event("d-2", "push", None)]
    assert run(events, "--id-from-line").json["applied"] == 2
    assert run(events, "--id-from-line").json["known"]["applied"] == 2
    zipped = tmp_path / "events.jsonl.gz"
    zipped.write_bytes(gzip.compress((tmp_path / "events.jsonl").read_bytes()))
    assert run(zipped, "--id-from-line").json["known"]["applied"] == 2
    other = run(events, "--id-from-line", "--id-prefix", "other")
    assert other.json["rejected"]["total"] == 2


def test_another_event_under_a_known_id_is_a_conflict(run: Callable[..., Any]) -> None:
    """A producer that numbers again from 1 must not have its events swallowed as duplicates."""
    told = run([event("d-1", "push", "1"), event("d-1", "smash", "1")]).json
    assert told["rejected"]["by_reason"] == {"idempotency_conflict": 1}


def test_what_cannot_be_stored_is_one_reject(run: Callable[..., Any], tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    long, reserved = (
        event("x" * 300, "push", "1"),
        event("d-1", "push", "2", context={"_secret": 1}),
    )
    told = run([long, reserved, event("d-2", "push", "3")], "--rejects", rejects).json
    assert (told["applied"], told["rejected"]["total"]) == (1, 2)
    assert [line["event_id"] for line in lines(rejects)] == ["1", "2"]


def test_standard_input_is_a_stream(cli: Callable[..., Any]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in EVENTS)
    answer = cli("process", "-m", "door.yaml", "-e", "-", "--db", DB, "--json", stdin=text)
    assert answer.json["applied"] == 4


def test_standard_input_has_no_name_for_ids(cli: Callable[..., Any]) -> None:
    """All pipes are called ``-``: ids made from that would collide between two of them."""
    answer = cli("process", "-m", "door.yaml", "-e", "-", "--db", DB, "--id-from-line", stdin="")
    assert answer.code == 2
    assert "--id-prefix" in answer.err


def test_csv_is_read(run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("entity_id,trigger,event_id,force\nd-1,push,1,\nd-1,pull,2,5\n")
    assert run(path).json["applied"] == 2


def test_the_time_of_an_event_is_kept(run: Callable[..., Any], cli: Callable[..., Any]) -> None:
    run([event("d-1", "smash", "1", at="2020-05-06T07:08:09+02:00")])
    (row,) = cli("history", "d-1", "--db", DB, "--json").json["history"]
    assert row["occurred_at"] == "2020-05-06T05:08:09+00:00"
    assert not row["now"].startswith("2020")


def test_the_time_of_an_event_is_the_step_s_when_asked_for(
    run: Callable[..., Any], cli: Callable[..., Any]
) -> None:
    run([event("d-1", "smash", "1", at="2020-05-06T07:08:09Z")], "--event-time")
    shown = cli("show", "d-1", "--db", DB, "--json").json
    assert shown["context"]["smashed_at"].startswith("2020-05-06T07:08:09")
    assert shown["updated_at"].startswith("2020-05-06T07:08:09")


def test_strict_fails_when_anything_was_rejected(run: Callable[..., Any]) -> None:
    """A pipeline that must be clean says so."""
    assert run(EVENTS, "--strict").code == 1
    assert run([event("new", "push", "n-1")], "--strict").code == 0


def test_an_empty_file_is_no_mistake(run: Callable[..., Any]) -> None:
    answer = run([])
    assert (answer.code, answer.json["events"]) == (0, 0)


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["-m", "none.yaml", "-e", "events.jsonl"], 1, "none.yaml"),
        (["-m", "door.yaml", "-e", "none.jsonl"], 1, "none.jsonl: no such file or directory"),
        (["-m", "door.yaml", "-e", "."], 1, "directory"),
        (["-m", "ghost", "-e", "events.jsonl"], 1, "no machine 'ghost'"),
        (["-m", "door.yaml", "-e", "events.jsonl", "--format", "xml"], 2, "jsonl or csv"),
        (["-m", "door.yaml", "-e", "events.jsonl", "--batch", "0"], 2, "--batch"),
        (
            ["-m", "door.yaml", "-e", "events.jsonl", "--code", "none.py"],
            1,
            "none.py: no such file",
        ),
        (["-m", "door.yaml", "-e", "events.jsonl", "--db", "nonsense"], 1, "sqlite:///"),
        (
            ["-m", "door.yaml", "-e", "events.jsonl", "--rejects", "no/such/folder"],
            1,
            "no such file",
        ),
        (["-m", "door.yaml"], 2, "--events"),
    ],
)
def test_a_mistake_is_a_sentence(
    cli: Callable[..., Any], tmp_path: Path, words: list[str], code: int, expected: str
) -> None:
    """Each with the code that scripts look at, and nothing on standard output."""
    write(tmp_path / "events.jsonl", EVENTS)
    answer = cli("process", *words)
    assert answer.code == code
    assert expected in answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err


def test_a_cut_off_file_keeps_what_it_had_and_fails(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    events = [event(f"d-{number}", "push", "1") for number in range(5_000)]
    whole = write(tmp_path / "e.jsonl", events).read_bytes()
    cut = tmp_path / "e.jsonl.gz"
    cut.write_bytes(gzip.compress(whole)[:-500])
    answer = run(cut, "--batch", 100)
    assert answer.code == 1
    assert "cut off" in answer.json["error"]["message"]
    cut.write_bytes(gzip.compress(whole))
    told = run(cut).json
    assert told["applied"] + told["known"]["applied"] == 5_000
    assert told["known"]["applied"] > 100


def test_actions_that_fail_are_counted_and_their_events_are_applied(
    cli: Callable[..., Any], run: Callable[..., Any], machine: Path
) -> None:
    """Nobody looks into the history of a million entities to find that nobody was paid."""
    machine.write_text(MACHINE.replace("[{increment: pushes}]", "[ring, log]"))
    answer = run(EVENTS)
    assert answer.code == 0
    assert answer.json["applied"] == 4
    assert answer.json["actions_failed"] == {"ring": 2}
    told = cli("process", "-m", machine, "-e", "events.jsonl", "--db", "sqlite:///again.db")
    (line,) = [line.split() for line in told.out.splitlines() if "ring" in line]
    assert line[:3] == ["ring", "failed", "2"]
    assert " ".join(line[3:]).startswith("nobody registered it: give --code FILE.py")
