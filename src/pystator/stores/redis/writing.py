"""Commits over Redis: one call of a script each, and what its answer means.

Many commits are many calls of the script in one round trip: each is written whole or not at all,
and none waits for another. They are encoded while the server works on those before them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pystator.db.redis_url import RedisURL
from pystator.errors import FSMError
from pystator.records import Commit, Outcome, OutcomeKind
from pystator.stores.redis.encode import Write, prepared, refusal
from pystator.stores.redis.errors import Complaint, translate
from pystator.stores.redis.layout import Layout
from pystator.stores.redis.ops import Command, Operation, Request
from pystator.stores.redis.scripts import Script

__all__ = ["Terms", "committing", "writing"]

COMMIT: Final = Script("commit")

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

    def command(self, write: Write) -> Command | None:
        """The call of the script; None when the answer is known without it."""
        if write.answer is not None:
            return None
        try:
            return self._packed(write)
        except UnicodeError as error:
            write.answer = refusal(error)
            return None

    def _packed(self, write: Write) -> Command:
        entity_id, machine = write.key
        partition, pre, keys = self.layout.of_commit(entity_id, machine)
        fields = write.fields
        return partition, COMMIT.call(
            keys,
            (
                pre,
                entity_id,
                machine,
                self.epoch or "",
                write.expected,
                self.layout.in_index(machine),
                write.state,
                write.due,
                write.ids,
                len(fields),
                *fields,
                *write.rows,
            ),
        )

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
    terms: Terms, commits: Sequence[Commit], recorded_at: int, limit: int
) -> Operation[list[Outcome]]:
    """Encode and write; one `Outcome` for each, in order.

    Args:
        terms: What they share.
        commits: What to write.
        recorded_at: Microseconds since the epoch, for the history rows.
        limit: Bytes an encoded context may have.
    """
    return (yield from writing(terms, (prepared(commit, recorded_at, limit) for commit in commits)))


def writing(terms: Terms, writes: Iterable[Write]) -> Operation[list[Outcome]]:
    """`committing` of what is encoded already."""
    answers: list[Outcome | None] = []
    replies = yield Request(_commands(terms, writes, answers), reads=False, blames=True)
    rest = iter(terms.outcomes(replies))
    return [next(rest) if each is None else each for each in answers]


def _commands(
    terms: Terms, writes: Iterable[Write], answers: list[Outcome | None]
) -> Iterator[Command]:
    """The calls for those whose answer is not known yet."""
    for write in writes:
        command = terms.command(write)
        answers.append(write.answer)
        if command is not None:
            yield command
