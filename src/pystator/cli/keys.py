"""``pystator keys``: the API keys of a service."""

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pystator.cli.app import new_app
from pystator.cli.options import JsonOption, KeysOption
from pystator.cli.output import note, paint, say, say_json
from pystator.cli.text import Cell, moment, table
from pystator.errors import ConfigurationError
from pystator.service.times import aware, duration

if TYPE_CHECKING:
    from pystator.service.keyfile import ApiKey

__all__ = ["app"]

app = new_app(name="keys", no_args_is_help=True, help="Make, list and revoke keys of the API.")


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose key it is; history names it as the actor.")
    ],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="What it may do: read, send or admin (which may do everything). Repeatable.",
        ),
    ],
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine",
            metavar="MACHINE",
            help="Only for entities of this machine. Repeatable. Default: of all.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="AGE|TIME",
            help="When it ends: 90d, or 2027-01-01T00:00:00Z. Default: never.",
            show_default=False,
        ),
    ] = None,
    keys: KeysOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key and print it, this one time: the file keeps only its SHA-256."""
    from pystator.service.keyfile import create_key, keys_path  # when it is used, here and below

    path = keys_path(keys)
    names = [each for word in scope for each in word.replace(",", " ").split()]
    now = _now()
    text, key = create_key(
        path, name, scopes=names, machines=machine, now=now, expires_at=_expiry(expires, now)
    )
    if json:
        say_json({"key": text, **_view(key), "file": str(path)})
        return
    note(f"key {key.id} of {key.name} is in {path}; this is the only time it is shown:", "dim")
    say(text)


@app.command("list")
def list_keys(keys: KeysOption = None, json: JsonOption = False) -> None:
    """List all keys: whose they are and what they may do, not the keys themselves."""
    from pystator.service.keyfile import keys_path, read_keys

    path = keys_path(keys)
    found = read_keys(path)
    if json:
        say_json({"keys": [_view(key) for key in found], "file": str(path)})
        return
    if not found:
        note(f"there is no key in {path}", "dim")
        return
    for line in table([_row(key) for key in found], paint(sys.stdout), indent=""):
        say(line)


@app.command()
def revoke(
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="The key's id, as `pystator keys list` shows it.")
    ],
    keys: KeysOption = None,
    json: JsonOption = False,
) -> None:
    """Take a key back; every service that uses the file refuses it within a second."""
    from pystator.service.keyfile import key_id, keys_path, revoke_key

    path = keys_path(keys)
    key, was_valid = revoke_key(path, key_id(identity) or identity, now=_now())
    if json:
        say_json({**_view(key), "was_valid": was_valid, "file": str(path)})
        return
    say(f"{key.id}  {key.name}  {'revoked' if was_valid else 'was not valid any more'}")


def _now() -> int:
    return time.time_ns() // 1_000


def _expiry(text: str | None, now: int) -> int | None:
    """When a new key ends.

    Raises:
        ConfigurationError: The text says neither an age nor a time, or one that is over.
    """
    from pystator.records import from_datetime

    if text is None:
        return None
    try:
        ends = from_datetime(aware(text)) if "-" in text else now + _microseconds(duration(text))
    except ValueError as error:
        raise ConfigurationError(f"--expires {error}") from error
    if ends <= now:
        raise ConfigurationError(f"--expires {text!r} is over already")
    return ends


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _row(key: "ApiKey") -> list[Cell]:
    machines = "all machines" if key.machines is None else " ".join(key.machines) or "no machine"
    ends = "" if key.expires_at is None else f"until {moment(key.expires_at)}"
    if key.revoked_at is not None:
        ends = f"revoked {moment(key.revoked_at)}"
    elif not key.is_valid(_now()):
        ends = f"expired {moment(key.expires_at or 0)}"
    return [
        (key.id, "strong"),
        key.name,
        " ".join(key.scopes),
        machines,
        (moment(key.created_at), "dim"),
        ends,
    ]


def _view(key: "ApiKey") -> dict[str, Any]:
    from pystator.service.keyfile import key_view

    return {**key_view(key), "valid": key.is_valid(_now())}
