"""`prune_history` and its twin, once for every store that can do the two things it takes."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pystator.definition.retention import DEDUP_WINDOW, Retention
from pystator.errors import ConfigurationError
from pystator.records import Pruned, from_datetime
from pystator.stores.facade import StoreFacade
from pystator.stores.keys import read_cursor
from pystator.stores.protocols import MachineStore
from pystator.stores.pruning import KEYS, Cuts, Keys, Load, Order, Prune, Rows
from pystator.stores.upkeep import PrunableStore, RestorableStore

__all__ = ["BATCH", "CompleteStore", "Progress", "Prunable", "apart"]

BATCH: Final = 1_000
"""Rows deleted in one transaction, about."""

Progress = Callable[[Pruned], bool | None]
"""Told after each batch what was done so far; False ends the prune there."""


class Prunable(PrunableStore):
    """`prune_history` and its twin, over the two methods of `PrunableStore`."""

    now: Callable[[], int]

    def prune_history(
        self,
        older_than: timedelta | None = None,
        *,
        dedup_window: timedelta = DEDUP_WINDOW,
        machine_name: str | None = None,
        retention: Mapping[str, Retention] | None = None,
        now: datetime | None = None,
        batch: int = BATCH,
        dry_run: bool = False,
        after: str | None = None,
        progress: Progress | None = None,
    ) -> Pruned:
        """Delete history rows that are older than a time, and keep what is there replayable.

        Each batch is a transaction of its own: others write meanwhile, several prunes may run at
        once, and one that is killed has done what its last batch did.

        Args:
            older_than: The age from which on rows go.
            dedup_window: Rows of events with an ``event_id`` stay at least this long.
            machine_name: Only entities of this machine; all by default.
            retention: Instead of the three above: machine -> `Retention`; others are left alone.
            now: What ages are counted from; the store's clock by default.
            batch: Rows a transaction deletes, about.
            dry_run: Delete nothing, and say what would be.
            after: Where an earlier prune that ``progress`` ended goes on: its ``next``.
            progress: Called after each batch with what was done so far; when it returns False, the
                prune ends there.

        Raises:
            ConfigurationError: It is not said what to prune, or an age is negative.
            InvalidValueError: ``after`` is no cursor of a prune.
        """
        order = self._ordered(
            older_than, dedup_window, machine_name, retention, now, batch, dry_run, after
        )
        program = Prune(order).run()
        answer: Any = None
        try:
            while True:
                request = program.send(answer)
                if isinstance(request, Keys):
                    answer = self.prune_keys(request.after, KEYS)
                elif isinstance(request, Rows):
                    answer = self.history(
                        request.key[0],
                        machine_name=request.key[1],
                        after=request.after,
                        limit=request.limit,
                    )
                elif isinstance(request, Load):
                    answer = self.load(request.lookups)
                elif isinstance(request, Cuts):
                    answer = self.prune_rows(request.cuts)
                else:
                    answer = None if progress is None else progress(request.so_far)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # a generator's value is its T

    async def aprune_history(
        self,
        older_than: timedelta | None = None,
        *,
        dedup_window: timedelta = DEDUP_WINDOW,
        machine_name: str | None = None,
        retention: Mapping[str, Retention] | None = None,
        now: datetime | None = None,
        batch: int = BATCH,
        dry_run: bool = False,
        after: str | None = None,
        progress: Progress | None = None,
    ) -> Pruned:
        """`prune_history` for asyncio."""
        order = self._ordered(
            older_than, dedup_window, machine_name, retention, now, batch, dry_run, after
        )
        program = Prune(order).run()
        answer: Any = None
        while True:
            try:
                request = program.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return] # as above
            if isinstance(request, Keys):
                answer = await self.aprune_keys(request.after, KEYS)
            elif isinstance(request, Rows):
                answer = await self.ahistory(
                    request.key[0],
                    machine_name=request.key[1],
                    after=request.after,
                    limit=request.limit,
                )
            elif isinstance(request, Load):
                answer = await self.aload(request.lookups)
            elif isinstance(request, Cuts):
                answer = await self.aprune_rows(request.cuts)
            else:
                answer = None if progress is None else progress(request.so_far)

    def _ordered(
        self,
        older_than: timedelta | None,
        dedup_window: timedelta,
        machine_name: str | None,
        retention: Mapping[str, Retention] | None,
        now: datetime | None,
        batch: int,
        dry_run: bool,
        after: str | None,
    ) -> Order:
        """What was asked for, checked."""
        if (older_than is None) is (retention is None):
            raise ConfigurationError(
                "say what to prune: older_than=timedelta(days=90), or "
                'retention={"order": Retention(timedelta(days=90))}, and not both'
            )
        if batch < 1:
            raise ConfigurationError(f"batch={batch!r}: a batch has at least one row")
        moment = self.now() if now is None else from_datetime(now)
        limits: dict[str, tuple[int, int]] = {}
        others: tuple[int, int] | None = None
        if older_than is not None:
            both = _limits(Retention(older_than, dedup_window), moment)
            if machine_name is None:
                others = both
            else:
                limits[machine_name] = both
        elif machine_name is not None:
            raise ConfigurationError(
                "machine_name= goes with older_than=: retention= names its machines itself"
            )
        for name, each in (retention or {}).items():
            limits[name] = _limits(each, moment)
        place: Any = None if after is None else read_cursor("prune", after, str, str)
        return Order(limits, others, batch, dry_run, place)


def _limits(retention: object, now: int) -> tuple[int, int]:
    """The times before which rows, and event ids, may go."""
    if not isinstance(retention, Retention):
        raise ConfigurationError(
            f"retention= has a Retention for each machine, not {retention!r}: leave out those "
            "whose meta says nothing of it"
        )
    history = _age("older_than", retention.history)
    window = _age("dedup_window", retention.dedup_window)
    return now - history // _MICROSECOND, now - window // _MICROSECOND


def _age(name: str, age: object) -> timedelta:
    """An age, checked; settings come as numbers, too."""
    if not isinstance(age, timedelta):
        raise ConfigurationError(f"{name}={age!r}: an age is a timedelta, e.g. timedelta(days=90)")
    if age < timedelta(0):
        raise ConfigurationError(f"{name}={age!r}: an age is not negative")
    return age


_MICROSECOND: Final = timedelta(microseconds=1)


class CompleteStore(Prunable, RestorableStore, StoreFacade, MachineStore):
    """What every store of ours is: the public methods over all that `protocols` knows."""


def apart(method: str = "prune_history") -> ConfigurationError:
    """The error of a prune, or of another such method, inside a transaction of the caller's."""
    return ConfigurationError(
        f"each batch of {method} is a transaction of its own, and cannot be part of yours: call"
        " it on the store itself",
        context={"option": "connection"},
    )
