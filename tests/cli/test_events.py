"""Event files: what a line means, and that a damaged one is told instead of stopping the file."""

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pystator.cli.events import Line, Rules, format_of, read_lines
from pystator.cli.feed import MAX_LINE, open_feed
from pystator.errors import ConfigurationError
from pystator.records import EventRequest

PLAIN = Rules()
MOMENT = datetime(2026, 3, 2, 8, tzinfo=UTC)


def read(path: Path, rules: Rules = PLAIN) -> list[Line]:
    """All lines of a file."""
    with open_feed(str(path)) as feed:
        return list(read_lines(feed, format_of(path.name), rules))


def read_text(tmp_path: Path, text: str, rules: Rules = PLAIN, name: str = "e.jsonl") -> list[Line]:
    """All lines of a text."""
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return read(path, rules)


def problem(tmp_path: Path, line: str, rules: Rules = PLAIN) -> str:
    """What is wrong with the only line."""
    (read,) = read_text(tmp_path, line, rules)
    assert read.request is None
    assert read.problem is not None
    return read.problem


def test_a_json_line_is_an_event(tmp_path: Path) -> None:
    event = {
        "entity_id": "order-1",
        "trigger": "pay",
        "event_id": "e-7",
        "at": "2026-03-02T09:00:00+01:00",
        "context": {"amount": 5},
        "actor": "ada",
    }
    (line,) = read_text(tmp_path, json.dumps(event) + "\n")
    assert EventRequest("order-1", "pay", {"amount": 5}, "e-7", MOMENT, None, "ada") == line.request
    assert event == line.data
    assert line.number == 1


def test_event_time_makes_at_the_step_s_now(tmp_path: Path) -> None:
    text = '{"entity_id": "a", "trigger": "t", "at": "2026-03-02T08:00:00Z"}'
    (line,) = read_text(tmp_path, text, Rules(event_time=True))
    assert line.request is not None
    assert MOMENT == line.request.now == line.request.occurred_at


def test_empty_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    """A line number in a message has to be the editor's."""
    lines = read_text(
        tmp_path, '\n{"entity_id": "a", "trigger": "t"}\r\n  \n{"entity_id": "b", "trigger": "t"}'
    )
    assert [line.number for line in lines] == [2, 4]


def test_a_number_is_an_id(tmp_path: Path) -> None:
    """Logs often keep ids as numbers; 7 and "7" are the same entity."""
    (line,) = read_text(tmp_path, '{"entity_id": 7, "trigger": "t", "event_id": 9}')
    assert line.request is not None
    assert (line.request.entity_id, line.request.event_id) == ("7", "9")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"entity_id": "a", "trig', "not JSON: Unterminated string"),
        ("[1]", "not a JSON object but [1]; write one object a line"),
        ('{"trigger": "t"}', "no entity_id"),
        ('{"entity_id": true, "trigger": "t"}', "entity_id is no text but true"),
        ('{"entity_id": "a"}', "no trigger"),
        ('{"entity_id": "a", "trigger": 3}', "trigger is no text but 3"),
        ('{"entity_id": "a", "trigger": "t", "context": [1]}', "context is no object but [1]"),
        ('{"entity_id": "a", "trigger": "t", "event_id": 1.5}', "event_id is no text but 1.5"),
        ('{"entity_id": "a", "trigger": "t", "actor": 1}', "actor is no text but 1"),
        ('{"entity_id": "a", "trigger": "t", "at": "soon"}', "at is no ISO 8601 time"),
        ('{"entity_id": "a", "trigger": "t", "at": 12}', "at is no ISO 8601 time: 12"),
        ('{"entity_id": "a", "trigger": "t", "at": "2026-03-02T08:00:00"}', "no time zone"),
        (
            '{"entity_id": "a", "trigger": "t", "contxt": {}}',
            "unknown key 'contxt' (did you mean 'context'?)",
        ),
        ('{"entity_id": "a", "trigger": "t", "zzz": 1}', "an event has entity_id, trigger"),
        ('{"entity_id": "\udcff", "trigger": "t"}', "not UTF-8"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_event_says_why(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in problem(tmp_path, text)


def test_event_time_needs_the_time(tmp_path: Path) -> None:
    """Some events at the clock's time and some in the past would be worse than a refusal."""
    text = '{"entity_id": "a", "trigger": "t"}'
    assert "--event-time" in problem(tmp_path, text, Rules(event_time=True))


def test_a_bad_line_does_not_stop_the_file(tmp_path: Path) -> None:
    good = '{"entity_id": "a", "trigger": "t"}'
    lines = read_text(tmp_path, f"{good}\nnonsense\n{good}\n")
    assert [line.request is not None for line in lines] == [True, False, True]
    assert lines[1].raw == "nonsense"


def test_a_line_without_end_is_refused_and_the_next_one_read(tmp_path: Path) -> None:
    """A file of one endless line must not take all memory, nor hide what follows."""
    good = '{"entity_id": "a", "trigger": "t"}'
    first, second = read_text(tmp_path, "x" * (MAX_LINE + 600_000) + f"\n{good}\n")
    assert first.problem is not None
    assert "longer than" in first.problem
    assert second.request is not None


def test_ids_come_from_the_line_when_asked_for(tmp_path: Path) -> None:
    text = '{"entity_id": "a", "trigger": "t"}\n{"entity_id": "a", "trigger": "t", "event_id": "own"}\n'
    lines = read_text(tmp_path, text, Rules(id_prefix="orders"))
    assert [line.request.event_id for line in lines if line.request] == ["orders:1", "own"]
    assert lines[0].data is not None
    assert lines[0].data["event_id"] == "orders:1"


def test_a_rejected_event_comes_back_under_a_new_id(tmp_path: Path) -> None:
    """Under its own id the store would give the first answer, a rejection, for ever."""
    event = {
        "entity_id": "a",
        "trigger": "t",
        "event_id": "e",
        "_rejected": {"reason": "x", "attempt": 2},
    }
    (line,) = read_text(tmp_path, json.dumps(event))
    assert line.request is not None
    assert line.request.event_id == "e~3"
    assert line.data == {"entity_id": "a", "trigger": "t", "event_id": "e"}
    assert line.attempt == 2


def test_a_damaged_line_stays_damaged_until_it_is_repaired(tmp_path: Path) -> None:
    text = '{"_rejected": {"reason": "malformed"}, "_raw": "half"}'
    assert "in place of _raw" in problem(tmp_path, text)


def test_csv_columns_are_fields_or_context(tmp_path: Path) -> None:
    text = (
        "entity_id,trigger,event_id,at,amount,note,paid,context\n"
        'order-1,pay,e-1,2026-03-02T08:00:00Z,5.5,"two, words",true,"{""x"": [1]}"\n'
        "order-2,ship,,,,,,\n"
    )
    first, second = read_text(tmp_path, text, name="e.csv")
    assert first.request == EventRequest(
        "order-1",
        "pay",
        {"x": [1], "amount": 5.5, "note": "two, words", "paid": True},
        "e-1",
        MOMENT,
    )
    assert second.request == EventRequest("order-2", "ship")
    assert [first.number, second.number] == [2, 3]


def test_a_csv_row_that_is_no_event_says_why(tmp_path: Path) -> None:
    text = 'entity_id,trigger,context\na,t\nb,t,"{"\nc,t,[1]\n\udcff,t,\nd,t,\n'
    lines = read_text(tmp_path, text, name="e.csv")
    problems = [line.problem for line in lines]
    assert problems[0] == "2 cells, and the first line names 3 columns"
    assert problems[1] is not None
    assert "not JSON" in problems[1]
    assert problems[2:] == ["the column context is no JSON object", "not UTF-8", None]


def test_a_csv_file_without_column_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="names no column entity_id and no trigger"):
        read_text(tmp_path, "order-1,pay\n", name="e.csv")


def test_gzip_is_seen_by_its_content(tmp_path: Path) -> None:
    """A file's name may lie."""
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(b'{"entity_id": "a", "trigger": "t"}\n' * 3))
    assert len(read(path)) == 3


def test_a_cut_off_gzip_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl.gz"
    whole = b"".join(b'{"entity_id": "%d", "trigger": "t"}\n' % number for number in range(50_000))
    path.write_bytes(gzip.compress(whole)[:-2000])
    lines: list[Line] = []
    with open_feed(str(path)) as feed:
        events = read_lines(feed, "jsonl", Rules())
        with pytest.raises(ConfigurationError, match="cut off gzip after line"):
            lines.extend(iter(lambda: next(events), None))
    assert len(lines) > 1000


def test_a_pipe_gives_its_lines_when_they_arrive(tmp_path: Path) -> None:
    """A producer that waits must not keep events waiting for a full batch."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    script = "import sys,time; f = open(sys.argv[1], 'w'); f.write('{}\\n{}\\n'); f.flush(); sys.stdin.read()"
    with (
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE
        ) as producer,
        open_feed(str(path)) as feed,
    ):
        assert feed.live
        lines = iter(feed)
        assert [next(lines), next(lines)] == [b"{}", b"{}"]
        assert feed.drained
        assert producer.stdin is not None
        producer.stdin.close()
        assert list(lines) == []


def test_the_position_tells_how_far_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text("{}\n" * 10)
    with open_feed(str(path)) as feed:
        list(feed)
        assert feed.size == feed.position() == 30


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.CSV.gz", "csv"),
        ("a.jsonl", "jsonl"),
        ("a.jsonl.gz", "jsonl"),
        ("-", "jsonl"),
    ],
)
def test_the_name_tells_the_format(name: str, expected: str) -> None:
    assert expected == format_of(name)
