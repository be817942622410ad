"""Machines of a service: `Client.machines` and `AsyncClient.machines`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pystator.client import reading
from pystator.client.bodies import body_of, query, segment
from pystator.client.calls import Answer, Call
from pystator.client.routes import API, JSON, LOOK
from pystator.client.wire import AsyncWire, Wire
from pystator.records import Page, StoredMachine

__all__ = ["AsyncMachines", "Format", "Machines", "Source"]

Source = Mapping[str, Any] | str | bytes | Path
"""A machine: a configuration, its text in YAML or JSON, or the path of its file."""

Format = Literal["mermaid", "svg", "dot", "json"]
"""What a picture of a machine is written in."""

_YAML: Final = {"Content-Type": "application/yaml"}
_ONCE: Final = "it may have been done: sent again, it is done once"
_ALL: Final = f"{API}/machines"


def _path(name: str, what: str = "") -> str:
    return f"{_ALL}/{segment(name, 'a name of a machine')}{what}"


def _sent(source: Source) -> tuple[bytes, Mapping[str, str]]:
    """A machine as a body; JSON is YAML, too."""
    if isinstance(source, Mapping):
        return body_of(source), JSON
    text = source.read_bytes() if isinstance(source, Path) else source
    return text.encode() if isinstance(text, str) else text, _YAML


def _list(name: str | None, after: str | None, limit: int) -> Call[Page[StoredMachine]]:
    params = query(name=name, cursor=after, limit=limit)
    return Call("GET", _ALL, reading.machines, params, again=True)


def _get(name: str, version: str | None) -> Call[StoredMachine]:
    return Call("GET", _path(name), reading.machine, query(version=version), again=True)


def _create(source: Source) -> Call[tuple[StoredMachine, bool]]:
    def read(answer: Answer) -> tuple[StoredMachine, bool]:
        return reading.machine(answer), answer.status == 201

    body, headers = _sent(source)
    return Call("POST", _ALL, read, (), body, headers, again=True, doubt=_ONCE)


def _delete(name: str, version: str | None) -> Call[None]:
    return Call("DELETE", _path(name), reading.nothing, query(version=version), doubt=LOOK)


def _validate(source: Source, *, strict: bool) -> Call[dict[str, Any]]:
    body, headers = _sent(source)
    path = f"{_ALL}/validate"
    return Call(
        "POST", path, reading.json_of, query(strict=strict or None), body, headers, again=True
    )


def _diagram(name: str, version: str | None, form: Format) -> Call[str]:
    params = query(version=version, format=form)
    return Call("GET", _path(name, "/diagram"), reading.text, params, again=True)


class Machines:
    """Machines that the service keeps, by name and version."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def list(
        self, *, name: str | None = None, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """One page of all versions of all machines.

        Their definitions are left out, and ``created_at`` is 0 of one that is of the application's
        code.
        """
        return self._wire.run(_list(name, after, limit))

    def get(self, name: str, version: str | None = None) -> StoredMachine:
        """The newest version, or the one that is named.

        Raises:
            MachineNotFoundError: There is none; the message lists what there is.
        """
        return self._wire.run(_get(name, version))

    def create(self, source: Source) -> tuple[StoredMachine, bool]:
        """Keep a version, which never changes; and whether it was not there.

        Args:
            source: A configuration, its text in YAML or JSON, or the path of its file.

        Raises:
            ConfigurationError: It has mistakes, which ``context["issues"]`` lists.
            MachineConflictError: This version is there with another content.
        """
        return self._wire.run(_create(source))

    def delete(self, name: str, version: str | None = None) -> None:
        """Delete all versions, or one.

        Raises:
            MachineConflictError: Entities live by it, or it is of the application's code.
            MachineNotFoundError: There is none.
        """
        self._wire.run(_delete(name, version))

    def validate(self, source: Source, *, strict: bool = False) -> dict[str, Any]:
        """Everything that is to be said about a machine; nothing is kept.

        Returns:
            ``valid``, ``machine`` (its facts) and ``issues``, each with its place.
        """
        return self._wire.run(_validate(source, strict=strict))

    def diagram(self, name: str, version: str | None = None, *, form: Format = "mermaid") -> str:
        """A picture of a machine."""
        return self._wire.run(_diagram(name, version, form))


class AsyncMachines:
    """`Machines` for asyncio."""

    def __init__(self, wire: AsyncWire) -> None:
        self._wire = wire

    async def list(
        self, *, name: str | None = None, after: str | None = None, limit: int = 100
    ) -> Page[StoredMachine]:
        """One page of all versions of all machines, see `Machines.list`."""
        return await self._wire.run(_list(name, after, limit))

    async def get(self, name: str, version: str | None = None) -> StoredMachine:
        """The newest version, or the one that is named, see `Machines.get`."""
        return await self._wire.run(_get(name, version))

    async def create(self, source: Source) -> tuple[StoredMachine, bool]:
        """Keep a version, see `Machines.create`."""
        return await self._wire.run(_create(source))

    async def delete(self, name: str, version: str | None = None) -> None:
        """Delete all versions, or one, see `Machines.delete`."""
        await self._wire.run(_delete(name, version))

    async def validate(self, source: Source, *, strict: bool = False) -> dict[str, Any]:
        """Everything that is to be said about a machine, see `Machines.validate`."""
        return await self._wire.run(_validate(source, strict=strict))

    async def diagram(
        self, name: str, version: str | None = None, *, form: Format = "mermaid"
    ) -> str:
        """A picture of a machine."""
        return await self._wire.run(_diagram(name, version, form))
