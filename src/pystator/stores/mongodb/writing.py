"""Commits over MongoDB: which commands, and what their replies mean for each commit.

::

    commits --prepare--> Writes --> one update, one insert --n, writeErrors, upserted--> applied
                 ^                                         `--> not, or perhaps: read back
                 `-- once more, if need be after a relay -------' `--> applied, stale, duplicate

Laws:

- A commit is one statement on one document, or one document that is inserted: state, context,
  timers, event ids and rows change together or not at all, on a single server as well as on a
  replica set.
- A statement is guarded by the version it expects, by its event ids, and by the room there is; one
  that is sent again also by what it would have left. So it is never applied twice.
- A reply has totals, not who they are: each write leaves a number of its own, `rev`, in the
  document and in its first row, by which it is found again.
- No command has two statements for one document.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pystator.errors import StoreUnavailableError
from pystator.records import Outcome, OutcomeKind
from pystator.stores.mongodb.documents import BETWEEN, HISTORY, STATES, Document
from pystator.stores.mongodb.encode import LARGEST, Write, apart, over, refusal, too_large
from pystator.stores.mongodb.errors import LEAVING, UNSENDABLE, Unanswered, refused
from pystator.stores.mongodb.link import OWN, Operation, Request, Rows
from pystator.stores.mongodb.loading import Forgotten, remember
from pystator.stores.mongodb.relay import Numbers, relay

__all__ = ["committing"]

MOST: Final = 1_000
"""Statements of one command."""

_TRIES: Final = 3
"""How often a command is sent while its answers are lost."""

_SOME: Final = 100
"""Writes of one command that looks for them."""

_ROUNDS: Final = 100
"""How often a commit is tried while others fill its document's tail."""

_DUPLICATE_KEY: Final = 11000
_CONFLICT: Final = 112
_TOO_LARGE: Final = frozenset({10334, 17419, 17420})

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_STALE: Final = Outcome(OutcomeKind.STALE)
_DUPLICATE: Final = Outcome(OutcomeKind.DUPLICATE)


def committing(
    writes: Sequence[Write], forgotten: Forgotten, numbers: Numbers
) -> Operation[list[Outcome]]:
    """Write; one `Outcome` for each, in order.

    Args:
        writes: What to write.
        forgotten: What loads have learned, and commits learn.
        numbers: The store's, for the relay.
    """
    outcomes: dict[int, Outcome] = {}
    waiting: list[tuple[int, Write]] = []
    for place, write in enumerate(writes):
        if write.refused is None and (write.statement or write.made):
            waiting.append((place, write))
        else:
            outcomes[place] = write.refused or _APPLIED
    while waiting:
        batch, waiting = _next_batch(waiting)
        work = _Batch([write for _, write in batch], forgotten, numbers)
        yield from work.run()
        for place, write in batch:
            outcomes[place] = work.outcomes[write.key]
    return [outcomes[place] for place in range(len(writes))]


_Placed = list[tuple[int, Write]]
"""Commits with their places in the call."""


def _next_batch(waiting: _Placed) -> tuple[_Placed, _Placed]:
    """Those that fit into one command, and the rest; both in the order they came."""
    batch: _Placed = []
    left: _Placed = []
    taken: set[str] = set()
    size = 0
    for index, placed in enumerate(waiting):
        write = placed[1]
        size += write.size
        if batch and (len(batch) == MOST or size > LARGEST):
            left += waiting[index:]
            break
        if write.key in taken:
            left.append(placed)
        else:
            taken.add(write.key)
            batch.append(placed)
    return batch, left


class _Batch:
    """Writes of different documents.

    Attributes:
        outcomes: By key.
    """

    def __init__(self, writes: list[Write], forgotten: Forgotten, numbers: Numbers) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._pending = list(writes)
        self._forgotten = forgotten
        self._numbers = numbers
        self._enlarged: set[str] = set()

    def run(self) -> Operation[None]:
        """Until all have their outcomes."""
        for write in self._pending:
            self._guard(write)
        for _ in range(_ROUNDS):
            unsure = yield from self._send()
            if self._pending:
                yield from self._find_out(unsure)
            if not self._pending:
                return
        names = ", ".join(repr(write.key.partition(BETWEEN)[0]) for write in self._pending[:3])
        raise StoreUnavailableError(
            f"others kept writing {names} so fast that there was no room; try again"
        )

    def _guard(self, write: Write) -> None:
        """An event id is written only where it was looked for among all that were forgotten."""
        if write.ids and write.statement:
            known = self._looked_for(write)
            write.statement["q"]["forgotten"] = {"$exists": False} if known is None else known

    def _looked_for(self, write: Write) -> int | None:
        """How many were forgotten when its event ids were looked for last; None for never."""
        number, ids = self._forgotten.get(write.key, (None, ()))
        return number if number is not None and all(each in ids for each in write.ids) else None

    # Sending --------------------------------------------------------------------------------------

    def _send(self) -> Operation[set[str]]:
        """Send what is pending; leaves those pending that were not, or may not have been, applied.

        Returns the keys of those that may have been.
        """
        changed = [write for write in self._pending if write.made is None]
        made = [write for write in self._pending if write.made is not None]
        unsure: set[str] = set()
        if changed:
            unsure |= yield from self._send_some(changed, _update)
        if made:
            unsure |= yield from self._send_some(made, _insert)
        return unsure

    def _send_some(
        self, writes: list[Write], make: Callable[[Sequence[Write]], Document]
    ) -> Operation[set[str]]:
        lost = 0
        while True:
            try:
                reply: Document = yield Request(make(writes))
            except Unanswered as error:
                lost += 1
                if not error.is_lost or lost == _TRIES:
                    raise
                documents = yield from _documents(writes)
                yield from self._find_applied(writes, documents)
                writes = [write for write in writes if write in self._pending]
                if not writes:
                    return set()
                for write in writes:
                    if write.statement:
                        write.statement["q"]["tail.rev"] = {"$ne": write.rev}
            except UNSENDABLE as error:
                yield from self._in_halves(writes, error)
                return set()
            else:
                unsure = self._read(writes, reply)
                return {write.key for write in writes} if lost else unsure

    def _read(self, writes: list[Write], reply: Document) -> set[str]:
        """What a reply says of each; the keys of those of which it does not say it."""
        applied = reply["n"]
        if applied == len(writes):
            self._mark(writes)
            return set()
        errors: dict[int, Document] = {each["index"]: each for each in reply.get("writeErrors", ())}
        made = {each["index"] for each in reply.get("upserted", ())}
        left = len(writes) - len(errors) - len(made)
        matched = applied - len(made)
        unsure: set[str] = set()
        sure: list[Write] = []
        for index, write in enumerate(writes):
            if index in made or (matched == left and index not in errors):
                sure.append(write)
            elif index in errors:
                self._take_error(write, errors[index], unsure)
            elif matched:
                unsure.add(write.key)
        self._mark(sure)
        return unsure

    def _take_error(self, write: Write, error: Document, unsure: set[str]) -> None:
        """It is the end of the write, or it is looked at again."""
        code = error.get("code")
        if code in _TOO_LARGE:
            if write.key in self._enlarged:
                self._end(write, too_large(write.size))
            self._enlarged.add(write.key)  # its tail is relayed, and then it may fit
        elif code == _DUPLICATE_KEY:
            over(write)
            self._guard(write)
        elif code in LEAVING:
            unsure.add(write.key)
        elif code != _CONFLICT:
            self._end(write, refusal(refused(error)))

    def _end(self, write: Write, outcome: Outcome) -> None:
        self.outcomes[write.key] = outcome
        self._pending.remove(write)

    def _in_halves(self, writes: list[Write], error: Exception) -> Operation[None]:
        """A value is to blame: its neighbours survive it."""
        if len(writes) == 1:
            self._end(writes[0], refusal(error))
            return
        middle = len(writes) // 2
        for some in (writes[:middle], writes[middle:]):
            half = _Batch(some, self._forgotten, self._numbers)
            yield from half.run()
            for write in some:
                self._end(write, half.outcomes[write.key])

    # Finding out ----------------------------------------------------------------------------------

    def _find_out(self, unsure: set[str]) -> Operation[None]:
        """What became of those that are pending, and why; leaves those to be sent again."""
        documents = yield from _documents(self._pending)
        suspects = [write for write in self._pending if write.key in unsure]
        yield from self._find_applied(suspects, documents)
        full: list[str] = []
        again: list[Write] = []
        for write in self._pending:
            document = documents.get(write.key)
            outcome = _reason(write, document)
            if outcome is None and document is not None and write.ids:
                outcome = yield from self._remember(write, document)
            if outcome is not None:
                self.outcomes[write.key] = outcome
                continue
            rows = () if document is None else document.get("tail", ())
            if document is not None and "archived_at" in document:
                apart(write)
            if write.key in self._enlarged or len(rows) > write.room:
                full.append(write.key)
            again.append(write)
        self._pending = again
        if full:
            yield from relay(full, self._numbers)

    def _remember(self, write: Write, document: Document) -> Operation[Outcome | None]:
        """Event ids that the document has forgotten are looked for among the rows."""
        number: int | None = document.get("forgotten")
        if number == self._looked_for(write):
            return None
        if number is None:
            self._forgotten.pop(write.key, None)
        else:
            names = {name: document[name] for name in ("entity_id", "machine_name")}
            query = {**names, "event_id": {"$in": write.ids}}
            command = {"find": HISTORY, "filter": query, "limit": 1, "readConcern": OWN}
            if (yield Rows(command)):
                return _DUPLICATE
            remember(self._forgotten, write.key, number, write.ids)
        self._guard(write)
        return None

    def _find_applied(
        self, suspects: Sequence[Write], documents: Mapping[str, Document]
    ) -> Operation[None]:
        """Of those that may have been applied, find those that were, by their `rev`s."""
        left: dict[int, Write] = {}
        for write in suspects:
            document = documents.get(write.key)
            if document is not None and document.get("rev") == write.rev:
                self._mark([write])
            elif document is not None and _may_be_in_rows(write, document):
                left[write.rev] = write
        # Tails first: a row that leaves its tail meanwhile is found where it goes.
        for make in (_in_tails, _in_history):
            writes = list(left.values())
            for start in range(0, len(writes), _SOME):
                found: list[Document] = yield Rows(make(writes[start : start + _SOME]))
                self._mark([left.pop(rev) for rev in map(_rev_of, found) if rev in left])

    def _mark(self, applied: Sequence[Write]) -> None:
        for write in applied:
            self.outcomes[write.key] = _APPLIED
        if len(applied) == len(self._pending):
            self._pending = []
        else:
            self._pending = [write for write in self._pending if write.key not in self.outcomes]


def _update(writes: Sequence[Write]) -> Document:
    return {"update": STATES, "updates": [each.statement for each in writes], "ordered": False}


def _insert(writes: Sequence[Write]) -> Document:
    return {"insert": STATES, "documents": [each.made for each in writes], "ordered": False}


def _may_be_in_rows(write: Write, document: Document) -> bool:
    """It may have been applied, and others have written since."""
    version = document["version"]
    if write.expected is None or version > write.version:
        return True
    return version == write.version and document.get("commit_id") == write.commit_id


def _in_tails(writes: Sequence[Write]) -> Document:
    """Looks for rows of the writes in tails."""
    revs = [write.rev for write in writes]
    query = {"_id": {"$in": [write.key for write in writes]}, "tail.rev": {"$in": revs}}
    projection = {"tail": {"$elemMatch": {"rev": {"$in": revs}}}}
    return {"find": STATES, "filter": query, "projection": projection, "readConcern": OWN}


def _in_history(writes: Sequence[Write]) -> Document:
    """Looks for rows of the writes among those that have left their tails."""
    alternatives: list[Document] = []
    for write in writes:
        entity_id, _, machine_name = write.key.partition(BETWEEN)
        query: Document = {"entity_id": entity_id, "machine_name": machine_name, "rev": write.rev}
        if write.expected is not None:
            query["version"] = write.expected + 1
        alternatives.append(query)
    query = {"$or": alternatives}
    return {"find": HISTORY, "filter": query, "projection": {"rev": 1}, "readConcern": OWN}


def _rev_of(found: Document) -> int:
    rev: int = found["tail"][0]["rev"] if "tail" in found else found["rev"]
    return rev


def _documents(writes: Sequence[Write]) -> Operation[dict[str, Document]]:
    """What the documents are now, as far as it tells why nothing was written."""
    query = {"_id": {"$in": [write.key for write in writes]}}
    found: list[Document] = yield Rows(
        {"find": STATES, "filter": query, "projection": _FACTS, "readConcern": OWN}
    )
    return {document["_id"]: document for document in found}


_FACTS: Final[Document] = {
    "entity_id": 1,
    "machine_name": 1,
    "version": 1,
    "commit_id": 1,
    "archived_at": 1,
    "rev": 1,
    "ids": 1,
    "forgotten": 1,
    "tail.version": 1,
}
"""What tells why nothing was written; of a tail, how many rows it has."""


def _reason(write: Write, document: Document | None) -> Outcome | None:
    """Why it was not written, if it will not be."""
    if document is None:
        return _STALE if write.expected else None
    if document.get("ids") and not set(document["ids"]).isdisjoint(write.ids):
        return _DUPLICATE
    if write.expected is not None and document["version"] != write.expected:
        return _STALE
    return None
