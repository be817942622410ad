"""``pystator stores``: one store into another."""

from pystator.cli.app import new_app
from pystator.cli.copy import copy

__all__ = ["app"]

app = new_app(name="stores", no_args_is_help=True, help="Copy what a store has into another one.")


@app.callback()
def stores() -> None:
    """Copy what a store has into another one."""


app.command()(copy)
