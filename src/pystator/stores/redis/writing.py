"""Commits over Redis: by a script, each whole or not at all, and what its answer means.

Many commits are one round trip. They are encoded while the server works on those before them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pystator.db.redis_url import RedisURL
from pystator.errors import FSMError
from pystator.records import Commit, Outcome, OutcomeKind
from pystator.stores.redis.encode import Write, prepared
from pystator.stores.redis.errors import Complaint, translate
from pystator.stores.redis.layout import Layout
from pystator.stores.redis.ops import FEW, Command, Operation, Request
from pystator.stores.redis.scripts import Script

__all__ = ["Terms", "committing", "writing"]

COMMIT: Final = Script("commit", "apart", "write")
COMMITS: Final = Script("commits", "apart", "write")

TOGETHER: Final = 16
"""Commits of one call: the server is busy with them for less than a millisecond."""

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_OUTCOMES: Final = (
    Outcome(OutcomeKind.STALE),
    _APPLIED,
    Outcome(OutcomeKind.DUPLICATE),
)
"""By the script's answer."""

_BLAMES: Final = frozenset({"FOREIGN", "WRONGTYPE"})
"""Something is wrong with this entity's keys; its neighbours are not to blame."""


class Terms:
    """What all commits of a call share.

    Args:
        url: The server, for messages.
        layout: The names of keys.
        epoch: That the data must belong to; None asks for none.
    """

    __slots__ = ("epoch", "layout", "url")

    def __init__(self, url: RedisURL, layout: Layout, epoch: str | None) -> None:
        self.url = url
        self.layout = layout
        self.epoch = epoch

    def command(self, *writes: Write) -> Command:
        """The call of a script for commits of one machine in one partition."""
        layout = self.layout
        machine = writes[0].key[1]
        partition = layout.partition(writes[0].key[0])
        keys = [layout.entity(write.key[0]) for write in writes]
        if layout.is_cluster:
            keys.append(layout.never(partition))
        pre = layout.pres[partition]
        arguments = [pre, self.epoch or "", machine, *layout.names_of(machine)]
        for write in writes:
            arguments += write.arguments()
        return partition, (COMMIT if len(writes) == 1 else COMMITS).call(keys, arguments)

    def outcomes(self, replies: Sequence[Any]) -> list[Outcome]:
        """What the answers of a script mean, one for each commit or parcel.

        Raises:
            FSMError: One of them is an error that is not about its commit. The others may be
                written.
        """
        try:
            return [self.outcome(reply) for reply in replies]
        except FSMError as error:
            if any(reply == 1 for reply in replies if type(reply) is int):
                error.context.pop("written", None)
            raise

    def outcome(self, reply: "int | Complaint") -> Outcome:
        """What the script's answer means.

        Raises:
            FSMError: It is an error that is not about this commit.
        """
        if not isinstance(reply, Complaint):
            return _OUTCOMES[reply]
        error = translate(reply, self.url)
        if reply.code in _BLAMES:
            return Outcome(OutcomeKind.REFUSED, error)
        raise error


def committing(
    terms: Terms, commits: Iterable[Commit], recorded_at: int, limit: int
) -> Operation[list[Outcome]]:
    """Encode and write; one `Outcome` for each, in order.

    Args:
        terms: What they share.
        commits: What to write.
        recorded_at: Microseconds since the epoch, for the history rows.
        limit: Bytes an encoded context may have.
    """
    writes = (prepared(commit, recorded_at, limit) for commit in commits)
    are_few = isinstance(commits, Sequence) and len(commits) < FEW
    return (yield from writing(terms, list(writes) if are_few else writes))


def writing(terms: Terms, writes: Iterable[Write]) -> Operation[list[Outcome]]:
    """`committing` of what is encoded already."""
    batches = _Batches(terms)
    commands: Iterable[Command] = batches.commands(writes)
    if isinstance(writes, list) and len(writes) < FEW:
        commands = list(commands)
    replies = yield Request(commands, reads=False, blames=True)
    left = batches.take(replies)
    if left:
        batches.finish(left, (yield Request(batches.alone(left), reads=False, blames=True)))
    return batches.outcomes()


class _Batches:
    """Commits of one machine in one partition share a call of the script, a few of them each.

    The first of them that meets an error ends the call: it and those behind it are sent once more,
    each alone, so that each has its own answer.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._writes: list[Write] = []
        self._sent: list[list[int]] = []
        self._answers: dict[int, Any] = {}

    def commands(self, writes: Iterable[Write]) -> Iterator[Command]:
        """The calls for those whose answer is not known yet."""
        waiting: dict[tuple[int, str], list[int]] = {}
        for place, write in enumerate(writes):
            self._writes.append(write)
            if write.answer is not None:
                continue
            key = (self._terms.layout.partition(write.key[0]), write.key[1])
            batch = waiting.setdefault(key, [])
            batch.append(place)
            if len(batch) == TOGETHER:
                del waiting[key]
                yield self._command(batch)
        for batch in waiting.values():
            yield self._command(batch)

    def _command(self, batch: list[int]) -> Command:
        self._sent.append(batch)
        return self._terms.command(*[self._writes[place] for place in batch])

    def take(self, replies: Sequence[Any]) -> list[int]:
        """The answers; those that are to be sent alone."""
        left: list[int] = []
        for batch, reply in zip(self._sent, replies, strict=True):
            if len(batch) == 1 or isinstance(reply, Complaint):
                self._answers.update(dict.fromkeys(batch, reply))
                continue
            self._answers.update(zip(batch, reply, strict=False))
            left += batch[len(reply) :]
        return left

    def alone(self, left: Sequence[int]) -> Iterator[Command]:
        """The calls for some of them."""
        return (self._terms.command(self._writes[place]) for place in left)

    def finish(self, left: Sequence[int], replies: Sequence[Any]) -> None:
        """The answers to these."""
        self._answers.update(zip(left, replies, strict=True))

    def outcomes(self) -> list[Outcome]:
        """Of all, in order."""
        places = sorted(self._answers)
        found = self._terms.outcomes([self._answers[place] for place in places])
        known = dict(zip(places, found, strict=True))
        return [write.answer or known[place] for place, write in enumerate(self._writes)]
