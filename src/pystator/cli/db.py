"""``pystator db``: make, migrate, seed, prune and empty a database."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pystator.cli.app import new_app
from pystator.cli.asking import confirm
from pystator.cli.machines import has_tables, open_store
from pystator.cli.options import ForceOption, JsonOption, UrlArgument
from pystator.cli.output import paint, say, say_json
from pystator.cli.prune import prune
from pystator.cli.text import count, noun
from pystator.db.resolve import scheme_of

if TYPE_CHECKING:
    from pystator.db.commands import Move, Seeded

__all__ = ["app"]

app = new_app(
    name="db", no_args_is_help=True, help="Make, migrate, seed, prune and empty a database."
)

WordsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="REVISION|URL",
        help="A revision and a database, in any order; what is left out has its default.",
        show_default=False,
    ),
]
_WORDS = {"ignore_unknown_options": True}  # so that -1 is a revision


@app.command()
def init(url: UrlArgument = None, json: JsonOption = False) -> None:
    """Make the tables, and a SQLite file.

    Does nothing to a database that has them.
    """
    from pystator.db import commands  # Alembic takes 0.3 s, here and below

    move = commands.init(url)
    _tell(move, json, "is initialised" if move.before is None else "was initialised before")


@app.command(context_settings=_WORDS)
def upgrade(words: WordsArgument = None, json: JsonOption = False) -> None:
    """Apply newer migrations, up to a revision (default: head)."""
    from pystator.db import commands

    url, revision = _split(words, "head")
    move = commands.upgrade(url, revision)
    _tell(move, json, "is up to date" if move.before == move.after else "was upgraded")


@app.command(context_settings=_WORDS)
def downgrade(
    words: WordsArgument = None, force: ForceOption = False, json: JsonOption = False
) -> None:
    """Undo migrations, and lose their data; asks first where there is any.

    Down to a revision; by default -1, which is one migration. base undoes all: nothing is left.
    """
    from pystator.db import commands
    from pystator.db.databases import shown_url

    url, revision = _split(words, "-1")
    shown = shown_url(url)
    if not force and (found := commands.rows(url)):
        what = f"the {count(found)} {noun(found, 'row')} of {shown}, or what a migration added"
        confirm(f"This can delete {what}.", "Undo it?", shown)
    _tell(commands.downgrade(url, revision), json, "was downgraded")


@app.command(context_settings=_WORDS)
def stamp(words: WordsArgument = None, json: JsonOption = False) -> None:
    """Note a revision, and change nothing else.

    By default head, the newest: for tables that were made in another way.
    """
    from pystator.db import commands

    url, revision = _split(words, "head")
    move = commands.stamp(url, revision)
    same = f"was at {move.after or 'no revision'} already"
    _tell(move, json, "was stamped" if move.before != move.after else same)


@app.command()
def current(url: UrlArgument = None, json: JsonOption = False) -> None:
    """Show the revision the database is at."""
    from pystator.db import commands

    move = commands.current(url)
    if json:
        say_json({"database": move.database, "revision": move.after})
    else:
        say(f"{move.after or 'no revision'}  {paint()(move.database, 'dim')}")


@app.command()
def history(url: UrlArgument = None, json: JsonOption = False) -> None:
    """Show all migrations, newest first."""
    from pystator.db import commands

    revisions = commands.history(url)
    if json:
        say_json(
            [
                {
                    "revision": each.revision,
                    "follows": each.follows,
                    "message": each.message,
                    "head": each.is_head,
                    "current": each.is_current,
                }
                for each in revisions
            ]
        )
        return
    for each in revisions:
        marks = [
            name for name, is_so in (("head", each.is_head), ("current", each.is_current)) if is_so
        ]
        shown = f"  ({', '.join(marks)})" if marks else ""
        say(f"{each.revision}  {each.message}{shown}")


@app.command()
def seed(url: UrlArgument = None, json: JsonOption = False) -> None:
    """Store the example machines that come with PyStator, in any store."""
    from pystator.db import commands
    from pystator.db.resolve import resolve

    machines = commands.seed(url) if has_tables(resolve(url)) else _seeded(url)
    if json:
        say_json(
            [{"name": each.name, "version": each.version, "added": each.added} for each in machines]
        )
        return
    for each in machines:
        say(f"{each.name} {each.version}  {'added' if each.added else 'was there'}")


app.command()(prune)


@app.command()
def truncate(
    url: UrlArgument = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Delete every row of every table; asks first."""
    from pystator.db import commands
    from pystator.db.databases import shown_url

    shown = shown_url(url)
    if not force:
        commands.current(url)  # nobody is asked about a database that is not there
        what = f"every entity, its history and every machine in {shown}"
        confirm(f"This deletes {what}.", "Delete everything?", shown)
    deleted = commands.truncate(url)
    if json:
        say_json({"database": shown, "deleted": deleted})
        return
    for table, rows in deleted.items():
        say(f"{table:<20} {rows:>10,} deleted")


def _seeded(url: str | None) -> "list[Seeded]":
    """The example machines in a store that has no tables; those that are there are left alone."""
    from pystator.db import commands

    with open_store(url, create=True) as store:
        return [
            commands.Seeded(
                each.name,
                each.version,
                store.stored_machine(each.name, each.version) is None and store.save_machine(each),
            )
            for each in commands.examples()
        ]


def _split(words: list[str] | None, default: str) -> tuple[str | None, str]:
    """Revision and URL, whichever came first."""
    urls = [word for word in words or [] if scheme_of(word)]
    revisions = [word for word in words or [] if not scheme_of(word)]
    if len(urls) > 1 or len(revisions) > 1:
        raise typer.BadParameter("give one revision and one URL at most")
    return urls[0] if urls else None, revisions[0] if revisions else default


def _tell(move: "Move", json: bool, what: str) -> None:
    if json:
        facts: dict[str, Any] = {
            "database": move.database,
            "before": move.before,
            "after": move.after,
        }
        say_json(facts)
        return
    if move.before != move.after:
        what += f": {move.before or 'nothing'} -> {move.after or 'nothing'}"
    say(f"{move.database} {what}")
