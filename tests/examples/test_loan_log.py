"""The loan machine on the log it was written from.

What the machine refuses is explained in docs/loan-log.md, figure by figure; these tests hold the figures. CI runs the
first events of the log, `make soak` the whole of it and kills a run in the middle. The machine is parallel; the flat
one beside the benchmarks, which counts instead, has to refuse the very same events.
"""

import gzip
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pystator.db.commands import init

ROOT = Path(__file__).parents[2]
MACHINE = ROOT / "examples" / "loan_application.yaml"
FLAT = ROOT / "benchmarks" / "loan_flat.yaml"
LOG = "loan-applications.jsonl.gz"

FIRST = 20_000

WORK = (
    "w_afhandelen_leads",
    "w_beoordelen_fraude",
    "w_completeren_aanvraag",
    "w_nabellen_offertes",
    "w_valideren_aanvraag",
    "w_nabellen_incomplete_dossiers",
)


def process(folder: Path, events: Path, machine: Path = MACHINE) -> subprocess.Popen[str]:
    """Start `pystator process`."""
    init(f"sqlite:///{folder / 'loans.db'}")
    words: list[object] = [
        "process",
        "--machine",
        machine,
        "--events",
        events,
        "--event-time",
        "--json",
    ]
    words += ["--db", f"sqlite:///{folder / 'loans.db'}", "--rejects", folder / "rejects.jsonl"]
    return subprocess.Popen(
        [sys.executable, "-m", "pystator", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, events: Path, machine: Path = MACHINE) -> dict[str, Any]:
    """Run it to its end; the summary."""
    with process(folder, events, machine) as running:
        out, err = running.communicate(timeout=600)
    assert running.returncode == 0, err
    return json.loads(out)


def content(folder: Path) -> tuple[list[Any], list[Any]]:
    """Every entity and every history row, without when and how fast they were written."""
    connection = sqlite3.connect(folder / "loans.db")
    states = connection.execute(
        "SELECT entity_id, version, state, context, timers, created_at, updated_at"
        " FROM entity_states ORDER BY entity_id"
    ).fetchall()
    history = connection.execute(
        "SELECT entity_id, version, kind, trigger, payload, now, context_patch, source_state,"
        " target_state, success, error_code, error_message, event_id, occurred_at"
        " FROM transition_history ORDER BY entity_id, version, id"
    ).fetchall()
    connection.close()
    return states, history


def rejects(folder: Path) -> list[dict[str, Any]]:
    """The rejected events."""
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]


def kind(event: dict[str, Any]) -> str:
    """The kinds of docs/loan-log.md."""
    item, _, phase = event["trigger"].rpartition("_")
    if event["trigger"] == "w_wijzigen_contractgegevens_schedule":
        return "a contract is changed"
    assert item in WORK, event
    return phase


@pytest.fixture(scope="module")
def first(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first events of the log."""
    path = tmp_path_factory.mktemp("log") / "first.jsonl"
    with (
        gzip.open(data / LOG, "rt", encoding="utf-8") as log,
        path.open("w", encoding="utf-8") as out,
    ):
        out.writelines(line for _, line in zip(range(FIRST), log, strict=False))
    return path


def test_the_first_events_run_and_only_known_anomalies_are_refused(
    first: Path, tmp_path: Path
) -> None:
    """Anything else that is refused would be a mistake in the machine."""
    told = run(tmp_path, first)
    assert told["events"] == FIRST
    assert told["applied"] + told["rejected"]["total"] == FIRST
    refused = rejects(tmp_path)
    assert told["rejected"]["total"] == len(refused) < 100
    assert {event["_rejected"]["reason"] for event in refused} <= {
        "guard_rejected",
        "terminal_state",
    }
    assert {kind(event) for event in refused} <= {"start", "complete"}
    assert_counts(tmp_path, first)


def test_the_flat_machine_refuses_the_same_events(first: Path, tmp_path: Path) -> None:
    """Two descriptions of one business, one by states side by side and one by counts."""
    folders = tmp_path / "parallel", tmp_path / "flat"
    for folder, machine in zip(folders, (MACHINE, FLAT), strict=True):
        folder.mkdir()
        run(folder, first, machine)
    parallel, flat = map(reasons, folders)
    assert parallel == flat


def reasons(folder: Path) -> dict[str, str]:
    """What was rejected, and why."""
    return {event["event_id"]: event["_rejected"]["reason"] for event in rejects(folder)}


def assert_counts(folder: Path, events: Path) -> None:
    """The counts in the contexts are those of the log, less what was refused."""
    seen: Counter[str] = Counter()
    raw = events.read_bytes()
    for line in (gzip.decompress(raw) if events.suffix == ".gz" else raw).splitlines():
        seen[json.loads(line)["trigger"]] += 1
    seen.subtract(event["trigger"] for event in rejects(folder))
    contexts = [json.loads(state[3]) for state in content(folder)[0]]
    offers = total(context.get("offers", {}) for context in contexts)
    work = total(context.get("work", {}) for context in contexts)
    for name in ("selected", "created", "sent", "sent_back", "cancelled", "declined", "accepted"):
        assert offers[name] == seen[f"o_{name}"], name
    ended = offers["cancelled"] + offers["declined"] + offers["accepted"]
    assert offers["open"] == offers["created"] - ended
    starts = sum(seen[f"{item}_start"] for item in WORK)
    completes = sum(seen[f"{item}_complete"] for item in WORK)
    schedules = sum(number for trigger, number in seen.items() if trigger.endswith("_schedule"))
    assert work["completed"] == completes
    assert work["open"] == starts - completes
    assert work["scheduled"] == schedules


def total(parts: Iterable[dict[str, int]]) -> Counter[str]:
    """All counts together."""
    counted: Counter[str] = Counter()
    for part in parts:
        counted.update(part)
    return counted


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The whole log, run."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, data / LOG)


@pytest.mark.soak
def test_the_whole_log_runs_with_the_figures_of_the_docs(
    whole: tuple[Path, dict[str, Any]], data: Path
) -> None:
    folder, told = whole
    assert (told["events"], told["applied"]) == (262_200, 261_067)
    assert told["rejected"]["by_reason"] == {"guard_rejected": 944, "terminal_state": 189}
    assert told["entities"]["by_state"] == {
        "declined": 7635,
        "cancelled": 2807,
        "granted": 2243,
        "finalized+offer_open+nobody_at_work": 324,
        "preaccepted+no_offer_open+nobody_at_work": 69,
        "accepted+no_offer_open+nobody_at_work": 3,
        "finalized+offer_open+at_work": 3,
        "granting+offer_open+nobody_at_work": 3,
    }
    kinds = Counter((event["_rejected"]["reason"], kind(event)) for event in rejects(folder))
    assert kinds == {
        ("guard_rejected", "complete"): 944,
        ("terminal_state", "complete"): 139,
        ("terminal_state", "start"): 43,
        ("terminal_state", "a contract is changed"): 7,
    }
    assert_counts(folder, data / LOG)


@pytest.mark.soak
def test_the_flat_machine_refuses_the_same_events_of_the_whole_log(
    whole: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    run(tmp_path, data / LOG, FLAT)
    assert reasons(tmp_path) == reasons(whole[0])


@pytest.mark.soak
def test_the_whole_log_killed_in_the_middle_is_the_same(
    whole: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    """Killed with -9 while it works, twice, and run again."""
    database = tmp_path / "loans.db"
    for size in (30_000_000, 90_000_000):
        with process(tmp_path, data / LOG) as running:
            while running.poll() is None and (
                not database.exists() or database.stat().st_size < size
            ):
                time.sleep(0.01)
            running.kill()
        assert running.returncode == -signal.SIGKILL
    run(tmp_path, data / LOG)
    assert content(tmp_path) == content(whole[0])
    assert rejects(tmp_path) == rejects(whole[0])
