"""Definitions of machines: stored, looked at, drawn, deleted.

Laws:

- A version never changes: what is changed is stored as a new version, and served from then on.
- A machine of the application is its code's: nothing stores, replaces or deletes it from outside.
- Work on a text or a picture is done in the workroom, so that the service goes on answering.
"""

import json
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, cast

from pystator.engine.machine import StateMachine
from pystator.errors import (
    ConfigurationError,
    EntityNotFoundError,
    InvalidValueError,
    MachineConflictError,
    MachineNotFoundError,
)
from pystator.records import Lookup, Page, StoredMachine, record
from pystator.service.application import Application
from pystator.service.machines import Machines, Sight, missing
from pystator.service.views import machine_view
from pystator.service.workroom.pool import BudgetError, Workroom
from pystator.stores.keys import is_storable, page_of, read_cursor, write_cursor
from pystator.stores.protocols import MachineStore
from pystator.stores.prunable import CompleteStore

__all__ = ["Kept", "MachineAdmin"]

SECONDS: Final = 10.0
"""For work on one text or picture."""

PAST: Final = 1_000
"""History rows, the newest, that tell where an entity has been."""

_PAGE: Final = 200
_SHOWN: Final = 20


@record
class Kept:
    """A version of a machine, and where it is from.

    Attributes:
        registered: It is the application's; its time says nothing.
    """

    stored: StoredMachine
    registered: bool

    def view(self) -> dict[str, Any]:
        """As plain data."""
        told = {**machine_view(self.stored), "source": "store"}
        return {**told, "created_at": None, "source": "application"} if self.registered else told

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands in the order of all."""
        return self.stored.name, self.stored.version


class MachineAdmin:
    """What callers do with definitions of machines.

    Args:
        store: Keeps them, if it can.
        application: The user's own.
        machines: Those that are served: told of every change.
        workroom: Where texts are read and pictures drawn.
    """

    def __init__(
        self,
        store: CompleteStore,
        application: Application,
        machines: Machines,
        workroom: Workroom,
    ) -> None:
        self._store = store
        self._kept = cast(
            "MachineStore | None", store if hasattr(store, "astored_machine") else None
        )
        self._own = {name: _registered(made) for name, made in application.machines.items()}
        self._machines = machines
        self._workroom = workroom

    # Looking --------------------------------------------------------------------------------------

    async def page(self, names: Sight, after: str | None, limit: int) -> Page[Kept]:
        """Versions in the order ``(name, version)``: those of the application and of the store.

        Args:
            names: Only machines of these names; None: all.
            after: The ``next`` of an earlier page.
            limit: Versions at most.

        Raises:
            InvalidValueError: ``after`` is no cursor of this read.
        """
        place = ("", "") if after is None else read_cursor("machines", after, str, str)
        found: list[Kept] = []
        async with aclosing(self._after(cast("tuple[str, str]", place), names)) as rest:
            async for each in rest:
                found.append(each)
                if len(found) > limit:
                    break
        return page_of(found, limit, lambda last: write_cursor("machines", *last.place))

    async def _after(self, place: tuple[str, str], names: Sight) -> AsyncGenerator[Kept]:
        """Everything after a place, in order; of two of one place, the application's."""
        own = sorted(
            (each for each in self._own.values() if names is None or each.stored.name in names),
            key=lambda each: each.place,
        )
        waiting = [each for each in own if each.place > place]
        async for stored in self._stored_after(place, names):
            while waiting and waiting[0].place < stored.place:
                yield waiting.pop(0)
            if not waiting or waiting[0].place != stored.place:
                yield stored
        for each in waiting:
            yield each

    async def _stored_after(self, place: tuple[str, str], names: Sight) -> AsyncGenerator[Kept]:
        starts = [place]
        if names is not None:
            later = sorted(name for name in names if name >= place[0] and is_storable(name))
            starts = [max(place, (name, "")) for name in later]
        for start in starts:
            after: str | None = write_cursor("machines", *start)
            while after is not None and self._kept is not None:
                page = await self._kept.astored_machines(after=after, limit=_PAGE)
                for each in page.items:
                    if names is not None and each.name != start[0]:
                        break
                    yield Kept(each, registered=False)
                else:
                    after = page.next
                    continue
                break

    async def get(self, name: str, version: str | None, sight: Sight = None) -> Kept:
        """A version, or the one that is served.

        Args:
            name: The machine.
            version: A version; the one that is served without.
            sight: The machines that the caller may see; no others are there.

        Raises:
            MachineNotFoundError: There is none; the message lists what there is.
        """
        if sight is not None and name not in sight:
            raise missing(name, await self._machines.visible(sight))
        own = self._own.get(name)
        if own is not None and version in {None, own.stored.version}:
            return own
        found = None if self._kept is None else await self._kept.astored_machine(name, version)
        if found is not None:
            return Kept(found, registered=False)
        raise await self._missing(name, version, sight)

    async def _missing(self, name: str, version: str | None, sight: Sight) -> MachineNotFoundError:
        if version is not None:
            page = await self.page([name], None, _SHOWN)
            known = [each.stored.version for each in page.items]
            if known:
                more = " and more" if page.next else ""
                return MachineNotFoundError(
                    f"machine {name!r} has no version {version!r}: there are"
                    f" {', '.join(known)}{more}",
                    context={"machine": name, "version": version, "versions": known},
                )
        return missing(name, await self._machines.visible(sight))

    async def as_yaml(self, kept: Kept) -> str:
        """The definition as YAML."""
        done = await self._workroom.ask("as_yaml", _content(kept), {}, seconds=SECONDS)
        text: str = done["text"]
        return text

    # Changing -------------------------------------------------------------------------------------

    async def prepare(self, content: bytes) -> StoredMachine:
        """The machine of a YAML or JSON text, ready to be stored.

        Raises:
            ConfigurationError: It has mistakes; ``context["issues"]`` has every one with its place.
            BudgetError: It is too large.
        """
        done = await self._workroom.ask("prepare", content, {}, seconds=SECONDS)
        return StoredMachine(
            done["name"],
            done["version"],
            done["fingerprint"],
            done["description"],
            done["definition"],
            time.time_ns() // 1_000,
        )

    async def keep(self, machine: StoredMachine) -> tuple[Kept, bool]:
        """Store a version: it is served from now on; and whether it is new.

        Raises:
            InvalidValueError: It has an empty version, which nobody could ask for.
            MachineConflictError: The application has this machine; or this version is there with
                another content.
        """
        if not machine.version:
            raise InvalidValueError(
                "a machine that is stored has a version: write one into meta.version",
                context={"what": "version"},
            )
        self._check_own(machine.name, "stored")
        store = self._storing()
        try:
            added = await store.asave_machine(machine)
        except ConfigurationError as error:
            raise MachineConflictError(
                f"{machine.name} has a version {machine.version!r} already, and it is another"
                " machine; a version never changes: give yours a new one, e.g. meta.version:"
                f' "{following(machine.version)}"',
                context=error.context,
            ) from error
        self._machines.forget(machine.name)
        if added:
            return Kept(machine, registered=False), True
        return await self.get(machine.name, machine.version), False

    async def delete(self, name: str, version: str | None, sight: Sight = None) -> int:
        """Delete a version, or all: how many there were.

        Args:
            name: The machine.
            version: A version; without, all.
            sight: The machines that the caller may see, for the message of an error.

        Raises:
            MachineNotFoundError: There is none.
            MachineConflictError: The application has this machine; or live entities use it.
        """
        self._check_own(name, "deleted")
        store = self._storing()
        try:
            deleted = await store.adelete_machine(name, version)
        except ConfigurationError as error:
            if "live" not in error.context:
                raise
            raise MachineConflictError(error.message, context=error.context) from error
        if not deleted:
            raise await self._missing(name, version, sight)
        self._machines.forget(name)
        return deleted

    def _check_own(self, name: str, done: str) -> None:
        if name in self._own:
            raise MachineConflictError(
                f"machine {name!r} is registered by the application, and cannot be {done} here:"
                " change its code, or give the other machine another meta.machine_name",
                context={"machine": name, "source": "application"},
            )

    @property
    def can_store(self) -> bool:
        """The store keeps machines. One of a user's own may not."""
        return self._kept is not None

    def _storing(self) -> MachineStore:
        if self._kept is None:
            raise ConfigurationError("this store keeps no machines")
        return self._kept

    # Checking and drawing -------------------------------------------------------------------------

    async def check(self, content: bytes, *, strict: bool) -> dict[str, Any]:
        """Everything that is to be said about a text; see `pystator.service.checking.check`."""
        try:
            return await self._workroom.ask("check", content, {"strict": strict}, seconds=SECONDS)
        except BudgetError as error:
            issue: dict[str, Any] = {
                "code": "too_large", "severity": "error", "message": error.message, "path": [],
                "line": 0, "column": 0, "text": None, "suggestion": None, "witness": None,
            }  # fmt: skip
            return {"valid": False, "machine": None, "issues": [issue], "more_issues": 0}

    async def diagram(
        self,
        name: str,
        version: str | None,
        form: str,
        *,
        sight: Sight = None,
        brief: bool = False,
        highlight: str | None = None,
        entity_id: str | None = None,
    ) -> str | dict[str, Any]:
        """The picture of a machine; the facts of one in JSON.

        Args:
            name: The machine.
            version: A version; the one that is served without.
            form: One of `pystator.service.drawing.FORMATS`.
            sight: The machines that the caller may see.
            brief: Only states and triggers.
            highlight: States to mark, joined by ``+``.
            entity_id: Mark where this entity is and has been.

        Raises:
            MachineNotFoundError: There is no such machine.
            EntityNotFoundError: There is no such entity.
            UndefinedStateError: The machine has no state to mark.
        """
        kept = await self.get(name, version, sight)
        marked = [] if highlight is None else [highlight]
        visited: list[str] = []
        if entity_id is not None:
            state, visited = await self._whereabouts(name, entity_id)
            marked.append(state)
        given = {"form": form, "brief": brief, "highlight": marked, "visited": visited}
        done = await self._workroom.ask("draw", _content(kept), given, seconds=SECONDS)
        picture: str | dict[str, Any] = done["diagram"]
        return picture

    async def _whereabouts(self, name: str, entity_id: str) -> tuple[str, list[str]]:
        """The entity's configuration, and the states of its newest rows."""
        (loaded,) = await self._store.aload([Lookup(entity_id, name)])
        if loaded.entity is None:
            raise EntityNotFoundError(
                f"there is no entity {entity_id!r} of machine {name}",
                context={"entity_id": entity_id},
            )
        page = await self._store.ahistory(
            entity_id, machine_name=name, limit=PAST, newest_first=True
        )
        seen: dict[str, None] = {}
        for entry in page.items:
            for state in (entry.source_state, entry.target_state) if entry.success else ():
                seen.update(dict.fromkeys(state.split("+") if state else ()))
        return loaded.entity.state, [*seen]


def _registered(machine: StateMachine) -> Kept:
    definition = machine.definition
    text = json.dumps(definition.config, ensure_ascii=False)
    stored = StoredMachine(
        machine.name, machine.version, machine.fingerprint, definition.description, text, 0
    )
    return Kept(stored, registered=True)


def _content(kept: Kept) -> bytes:
    return kept.stored.definition.encode()


def following(version: str) -> str:
    """The version that may come after one: its last number is one more."""
    *_, last = [None, *re.finditer(r"\d+", version)]
    if last is None or len(last[0]) > 18:
        return f"{version}-2"
    return f"{version[: last.start()]}{int(last[0]) + 1}{version[last.end() :]}"
