"""The options that several commands share, under one name and with one meaning."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "ActorOption",
    "AtOption",
    "CodeOption",
    "EntityArgument",
    "EventIdOption",
    "ExpectOption",
    "ForceOption",
    "JsonOption",
    "KeysOption",
    "MachineNameOption",
    "MachineOption",
    "ServiceOption",
    "StoreOption",
    "UrlArgument",
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        "--db",
        metavar="URL",
        help="Where entities are kept: sqlite:///orders.db, postgresql://user:pass@localhost/shop, "
        "redis://localhost:6379/0, mongodb://localhost:27017. Default: PYSTATOR_DATABASE_URL, "
        "then pystator.cfg, then PYSTATOR_REDIS_URL or PYSTATOR_MONGODB_URL, then pystator.db in "
        "this folder.",
        show_default=False,
    ),
]

ServiceOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="A service to ask instead of a store, e.g. http://localhost:8004. Default, where no "
        "--store is given: PYSTATOR_API_URL. The key is taken from PYSTATOR_API_KEY.",
        show_default=False,
    ),
]

UrlArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="URL",
        help="The database, e.g. sqlite:///shop.db or postgresql://user:pass@localhost/shop. "
        "Default: PYSTATOR_DATABASE_URL, then pystator.cfg, then pystator.db in this folder.",
        show_default=False,
    ),
]

ForceOption = Annotated[bool, typer.Option("--force", help="Do not ask.")]

MachineOption = Annotated[
    str | None,
    typer.Option(
        "--machine",
        "-m",
        metavar="FILE|NAME",
        help="A machine file, or the name of a machine stored in the database.",
        show_default=False,
    ),
]

MachineNameOption = Annotated[
    str | None,
    typer.Option(
        "--machine",
        "-m",
        metavar="FILE|NAME",
        help="Only entities of this machine.",
        show_default=False,
    ),
]

CodeOption = Annotated[
    Path | None,
    typer.Option(
        "--code",
        metavar="FILE.py",
        help="A Python file whose `guards` and `actions` the machine uses.",
        show_default=False,
    ),
]

EntityArgument = Annotated[
    str, typer.Argument(metavar="ENTITY", help="The entity's id, e.g. order-123.")
]

EventIdOption = Annotated[
    str | None,
    typer.Option("--event-id", metavar="ID", help="Sent again, it is not applied again."),
]

ExpectOption = Annotated[
    int | None,
    typer.Option(
        "--expect-version",
        metavar="N",
        min=0,
        help="Only if this is the entity's version; 0: only if there is none yet.",
        show_default=False,
    ),
]

AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="When it happened, e.g. 2026-03-02T08:00:00Z."),
]

ActorOption = Annotated[
    str | None, typer.Option("--actor", metavar="NAME", help="Who sends it; kept in history.")
]

KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="The file of API keys. Default: PYSTATOR_KEYS_FILE, then pystator-keys.json in this "
        "folder.",
        show_default=False,
    ),
]
