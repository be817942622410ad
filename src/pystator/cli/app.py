"""The ``pystator`` command: a table of commands, imported one by one when asked for."""

import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pystator._version import __version__
from pystator.cli.output import answering, colorful, prepare_streams, unexpected

__all__ = ["app", "main"]

COMMANDS: dict[str, str] = {
    "check": "pystator.cli.check:check",
    "graph": "pystator.cli.graph:graph",
    "schema": "pystator.cli.schema:schema",
    "send": "pystator.cli.send:send",
    "apply": "pystator.cli.apply:apply",
    "archive": "pystator.cli.archive:archive",
    "unarchive": "pystator.cli.archive:unarchive",
    "process": "pystator.cli.process:process",
    "fire": "pystator.cli.fire:fire",
    "show": "pystator.cli.show:show",
    "history": "pystator.cli.history:history",
    "entities": "pystator.cli.entities:entities",
    "replicate": "pystator.cli.replicate:replicate",
    "machines": "pystator.cli.stored:app",
    "stores": "pystator.cli.stores:app",
    "db": "pystator.cli.db:app",
    "api": "pystator.cli.api:api",
    "keys": "pystator.cli.keys:app",
}
"""Name -> where its function, or its own `typer.Typer`, is."""


class Commands(TyperGroup):
    """A group whose commands are imported when they are asked for, and whose errors are answers."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; None when there is none."""
        del ctx
        where = COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        return as_command(cmd_name, getattr(import_module(module), name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named first; a word that is none is answered with the nearest."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, COMMANDS, 1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note whether JSON was asked for, so that errors are JSON too."""
        ctx.obj = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a mistake becomes an answer and an exit code."""
        with answering(json=bool(ctx.obj)):
            return super().invoke(ctx)


def as_command(name: str, target: Callable[..., Any] | typer.Typer) -> Any:
    """The function, or the sub-app, as a command."""
    if isinstance(target, typer.Typer):
        command = typer.main.get_command(target)
    else:
        single = new_app()
        single.command(name)(target)
        command = typer.main.get_command(single)
    command.name = name
    return command


def new_app(*, add_completion: bool = False, **options: Any) -> typer.Typer:
    """An app with our conventions: help is plain where there is no terminal."""
    return typer.Typer(
        add_completion=add_completion,
        rich_markup_mode="rich" if colorful(sys.stdout) else None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


app = new_app(name="pystator", cls=Commands, no_args_is_help=True, add_completion=True)


def show_version(asked: bool) -> None:
    """Print the version and stop."""
    if asked:
        typer.echo(f"pystator {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Persistent state machines: lifecycles in YAML, one event one atomic commit."""
    del version


def main() -> None:
    """Run the command line: the console script."""
    prepare_streams()
    try:
        app(prog_name="pystator")
    except Exception as error:  # noqa: BLE001 - no traceback is ever a user's answer
        sys.exit(unexpected(error, json="--json" in sys.argv))
