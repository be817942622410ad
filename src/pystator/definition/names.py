"""What a machine declares, and what happens to a name that is not among it."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal

from pystator.definition.issues import Path, Report, show
from pystator.definition.model import region_key

__all__ = ["Names"]

_SEVERAL: Final = re.compile(r"[+,&|\s]+")
"""How states at once are written elsewhere, and in the text of a configuration."""
_STEP: Final = re.compile(r"[./:#>]+")
"""How a state's place is written elsewhere: ``#open.triage``. Here names are unique."""
_TRIGGER: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class Names:
    """States, regions, triggers and groups of one machine.

    Args:
        states: Names of all states, also of those that have a mistake; None when they are not
            known, so that none is judged.
        regions: Names of all regions, and of the parallel state that each is in.
        groups: Names of the groups; None when they are not known, so that none is judged.
        normalizer: Applied to every trigger.
    """

    def __init__(
        self,
        states: Iterable[str] | None,
        regions: Mapping[str, str],
        groups: Iterable[str] | None,
        normalizer: Literal["lower", "upper"] | None,
    ) -> None:
        self.states = None if states is None else dict.fromkeys(states)
        self.regions = regions
        self.groups = None if groups is None else frozenset(groups)
        self.normalizer: Literal["lower", "upper"] | None = normalizer
        self.triggers: dict[str, None] = {}
        self._raised: list[tuple[str, str, Path]] = []
        self.done_events: set[str] = set()
        """What the ends of states with ``on_done`` queue."""

    # States -----------------------------------------------------------------------------------

    def state(
        self, name: str, path: Path, report: Report, *, what: str = "state", hint: str = ""
    ) -> bool:
        """Whether there is a state of this name; if not, that is reported."""
        if self.states is None or name in self.states:
            return True
        if name in self.regions:
            around = self.regions[name]
            message = f"{name!r} is a region of {around!r}: name {around}, or a state in it"
            if what == "source state":
                message = f"{name!r} is a region: write source: {around}, and region: {name}"
            report.add("region_name", path, message, text=name)
            return False
        self._unknown(name, self.states, path, report, what, hint)
        return False

    def place(self, name: str, path: Path, report: Report, *, what: str = "state") -> str | None:
        """The node of a state, or else region, of this name; if there is none, that is reported."""
        if self.states is None or name in self.states:
            return name
        if name in self.regions:
            return region_key(name)
        self._unknown(name, [*self.states, *self.regions], path, report, what)
        return None

    def region(self, name: str, path: Path, report: Report) -> str | None:
        """The node of a region; if there is none, that is reported."""
        if name in self.regions:
            return region_key(name)
        if self.states is not None:
            self._unknown(name, self.regions, path, report, "region")
        return None

    def _unknown(
        self,
        name: str,
        known: Collection[str],
        path: Path,
        report: Report,
        what: str,
        hint: str = "",
    ) -> None:
        several = [part for part in _SEVERAL.split(name) if part]
        if len(several) > 1:
            listed = ", ".join(several)
            hint = f": several are a list, [{show(listed)}]"
            if what == "state":
                hint = f": write an entry for each of {show(listed)}"
        inner = _STEP.split(name)[-1]
        report.add(
            "unknown_region" if what == "region" else "unknown_state",
            path,
            f"unknown {what} {show(name)!r}{hint}",
            text=show(name),
            suggestion=None
            if len(several) > 1
            else inner
            if inner in known
            else report.closest(name, [*known]),
        )

    def group(self, name: str, path: Path, report: Report) -> None:
        """A reference to a group."""
        if self.groups is not None and name not in self.groups:
            report.add(
                "unknown_group",
                path,
                f"unknown group {show(name)!r}: declare it under 'groups'",
                text=show(name),
                suggestion=report.closest(name, self.groups),
            )

    # Triggers ---------------------------------------------------------------------------------

    def declare(self, name: str, path: Path, report: Report) -> str:
        """A trigger that a transition or an ``events`` entry names -> its normalised form."""
        normal = self._normal(name)
        if not _TRIGGER.fullmatch(name):
            self._bad_trigger(name, path, report)
        self.triggers[normal] = None
        return normal

    def done(self, label: str) -> str:
        """The event that the end of a state or region queues; nobody has to declare it."""
        event = self._normal(f"done.state.{label}")
        self.done_events.add(event)
        return event

    def raised(self, name: str, path: Path, report: Report) -> str:
        """A trigger that an action raises; `check_raised` judges it when all are declared."""
        normal = self._normal(name)
        if not _TRIGGER.fullmatch(name):
            self._bad_trigger(name, path, report)
        else:
            self._raised.append((normal, name, path))
        return normal

    def check_raised(self, report: Report) -> None:
        """Report raised triggers that nothing declares."""
        for normal, name, path in self._raised:
            if normal not in self.triggers and normal not in self.done_events:
                report.add(
                    "unknown_trigger",
                    path,
                    f"nothing listens to {show(name)!r}, which is raised here",
                    text=show(name),
                    suggestion=report.closest(name, self.triggers),
                )

    def allow_all_raised(self) -> None:
        """Judge no raised trigger: what declares them could not be read."""
        self._raised.clear()

    def _normal(self, name: str) -> str:
        if self.normalizer == "lower":
            return name.lower()
        return name.upper() if self.normalizer == "upper" else name

    def _bad_trigger(self, name: str, path: Path, report: Report) -> None:
        near = re.sub(r"[^A-Za-z0-9_.:-]+", "_", name).strip("_")[:128]
        report.add(
            "bad_trigger",
            path,
            f"{show(name)!r} is no valid trigger: use 1-128 letters, digits and '_.:-'",
            text=show(name),
            suggestion=near if near and near != name else None,
        )

    # What is not built yet ----------------------------------------------------------------------

    def not_supported(self, what: str, path: Path, report: Report, *, instead: str) -> None:
        """Refuse a part of the format that this release does not run."""
        report.add(
            "not_supported",
            path,
            f"{what} cannot be used yet: {instead}",
            key=bool(path) and isinstance(path[-1], str),
        )
