"""One run over a file of events: batch after batch, to the end or until somebody asks to stop."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pystator.cli.events import Line
from pystator.cli.feed import Feed
from pystator.cli.output import note
from pystator.cli.rejects import Rejects
from pystator.cli.stopping import Stopping
from pystator.cli.tally import MALFORMED, Tally
from pystator.cli.text import noun, why_failed
from pystator.errors import FSMError, StoreUnavailableError

if TYPE_CHECKING:
    from pystator.cli.backends import Sender
    from pystator.engine.result import TransitionResult

__all__ = ["Run", "batches"]


def batches(lines: Iterable[Line], feed: Feed, size: int) -> Iterator[list[Line]]:
    """Lists of at most so many lines; what has arrived by a pipe does not wait for more."""
    batch: list[Line] = []
    for line in lines:
        batch.append(line)
        if len(batch) >= size or (feed.live and feed.drained):
            yield batch
            batch = []
    if batch:
        yield batch


@dataclass(slots=True)
class Run:
    """One run over a file."""

    sender: "Sender"
    rejects: Rejects
    tally: Tally
    stopping: Stopping
    warned: bool = False

    def go(self, work: Iterable[list[Line]]) -> Generator[None]:
        """Apply batch after batch, until there are no more or somebody asked to stop."""
        with self.stopping as stopping:
            try:
                for batch in work:
                    stopping.busy = True
                    self.apply(batch)
                    stopping.busy = False
                    yield
                    if stopping.asked:
                        break
            except KeyboardInterrupt:
                stopping.asked = True
            except FSMError:
                if self.tally.read:
                    done = f"{self.tally.read:,} {noun(self.tally.read, 'line')}"
                    note(f"stopped after {done}, all stored; mend it and run it again", "warn")
                raise
        self.tally.stop()

    def apply(self, batch: list[Line]) -> None:
        """One batch: one commit, its counts, its rejects."""
        requests = [line.request for line in batch if line.request is not None]
        answers = self.sender.process_events(requests)
        for result in answers:
            if isinstance(result.error, StoreUnavailableError):
                # Not an answer about the event: nobody knows. The next run finds out.
                raise result.error
        results = iter(answers)
        for line in batch:
            if line.request is None:
                self.refuse(line)
            else:
                self.count(line, next(results))
        self.tally.read += len(batch)
        self.rejects.flush()

    def refuse(self, line: Line) -> None:
        """A line that is no event."""
        self.tally.rejected[MALFORMED] += 1
        self.rejects.add(line, MALFORMED, line.problem or "")

    def count(self, line: Line, result: "TransitionResult") -> None:
        """An event and what became of it."""
        tally = self.tally
        if line.request is not None and line.request.event_id is None:
            self.miss_id(line)
        if result.success:
            if result.replayed:
                tally.again += 1
            elif result.ignored:
                tally.ignored += 1
            else:
                tally.applied += 1
                for failed in result.metadata.get("action_errors") or ():
                    tally.fail(failed["name"], why_failed(failed["error"]))
            return
        reason = reason_of(result)
        if result.replayed:
            tally.again_rejected += 1
        else:
            tally.rejected[reason] += 1
        message = result.error.message if result.error is not None else reason
        self.rejects.add(line, reason, message, result.source_state)

    def miss_id(self, line: Line) -> None:
        """Say once that a second run would apply these events twice."""
        self.tally.without_id += 1
        if not self.warned:
            self.warned = True
            note(
                f"warning: line {line.number} has no event_id: a second run would apply it again. "
                "--id-from-line makes ids from the line numbers.",
                "warn",
            )


def reason_of(result: "TransitionResult") -> str:
    """The stable word for a rejection."""
    if result.reason:
        return result.reason
    return str(result.error.code) if result.error is not None else "failed"
