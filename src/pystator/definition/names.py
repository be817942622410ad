"""What a machine declares, and what happens to a name that is not among it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pystator.definition.issues import Path, Report, show

__all__ = ["Names"]

_TRIGGER: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_HISTORY: Final = re.compile(r"H\*?\(.*\)")


FLAT_ONLY: Final = "this release runs flat machines"


class Names:
    """States, triggers and groups of one machine.

    Args:
        states: Names of all states, also of those that have a mistake; None when they are not
            known, so that none is judged.
        groups: Names of the groups; None when they are not known, so that none is judged.
        normalizer: Applied to every trigger.
    """

    def __init__(
        self,
        states: Iterable[str] | None,
        groups: Iterable[str] | None,
        normalizer: Literal["lower", "upper"] | None,
    ) -> None:
        self.states = None if states is None else dict.fromkeys(states)
        self.groups = None if groups is None else frozenset(groups)
        self.normalizer: Literal["lower", "upper"] | None = normalizer
        self.triggers: dict[str, None] = {}
        self._raised: list[tuple[str, str, Path]] = []

    # States -----------------------------------------------------------------------------------

    def state(self, name: str, path: Path, report: Report, *, what: str = "state") -> bool:
        """Whether there is a state of this name; if not, that is reported."""
        if self.states is None or name in self.states:
            return True
        if _HISTORY.fullmatch(name):
            self.not_supported("history states", path, report)
            return False
        report.add(
            "unknown_state",
            path,
            f"unknown {what} {show(name)!r}",
            text=show(name),
            suggestion=report.closest(name, self.states),
        )
        return False

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
            if normal not in self.triggers:
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

    def not_supported(
        self, what: str, path: Path, report: Report, *, instead: str = FLAT_ONLY
    ) -> None:
        """Refuse a part of the format that this release does not run."""
        report.add(
            "not_supported",
            path,
            f"{what} cannot be used yet: {instead}",
            key=bool(path) and isinstance(path[-1], str),
        )

    def refuse_later(
        self, entry: Mapping[str, Any], later: Mapping[str, str], path: Path, report: Report
    ) -> None:
        """Refuse each key of an entry that this release does not run."""
        for key, what in later.items():
            if entry.get(key) is not None:
                self.not_supported(what, (*path, key), report)
