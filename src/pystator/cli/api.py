"""``pystator api``: the HTTP service."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pystator.cli.options import JsonOption, KeysOption, StoreOption
from pystator.cli.output import note, say, say_json
from pystator.errors import ConfigurationError

__all__ = ["api"]

FORMATS = ("text", "json")
MOST_WORKERS = 256


def api(
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Where to listen.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="0: any that is free.")
    ] = 8004,
    store: StoreOption = None,
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="MODULE:FACTORY",
            help="A function that gives an Application: machines, guards, actions. Default: the "
            "machines that are stored.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option("--workers", metavar="N", min=1, max=MOST_WORKERS, help="How many processes."),
    ] = 1,
    keys: KeysOption = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            metavar="CALLS/s|m|h",
            help="How often a key may call each process, e.g. 100/s. Default: without a limit.",
            show_default=False,
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            "--cors",
            metavar="ORIGIN",
            help="Pages of this origin may call, e.g. https://shop.example. Repeatable.",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Let other machines call without authentication."),
    ] = False,
    otel: Annotated[
        bool,
        typer.Option(
            "--otel",
            help="Export traces of events by OTLP over HTTP, as the variables OTEL_... say.",
        ),
    ] = False,
    grace: Annotated[
        int,
        typer.Option(
            "--grace", metavar="SECONDS", min=0, help="For requests in flight, asked to stop."
        ),
    ] = 30,
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="text|json", help="How the log is written.")
    ] = "text",
    json: JsonOption = False,
) -> None:
    """Serve entities over HTTP until it is asked to stop.

    Settings of tokens (JWT) and limits: PYSTATOR_* variables, or [api] in pystator.cfg.
    """
    if log_format not in FORMATS:
        raise ConfigurationError(f"--log-format is text or json, not {log_format!r}")
    serving, listening = _prepared(
        store,
        keys=keys,
        rate=rate,
        cors=cors,
        insecure=insecure,
        otel=otel,
        host=host,
        port=port,
        app=app,
        workers=workers,
        grace=grace,
        log_format=log_format,
    )

    from pystator.api.server.serving import run, url_of
    from pystator.api.server.workers import supervise

    url = url_of(listening)

    def ready() -> None:
        facts = {"url": url, "pid": os.getpid(), "workers": workers}
        _say_ready(facts, json=json)

    serve = run if workers == 1 else supervise
    with listening:
        serve(serving, listening, ready)


def _prepared(
    store: str | None,
    *,
    keys: Path | None,
    rate: str | None,
    cors: list[str] | None,
    insecure: bool,
    otel: bool,
    **where: Any,
) -> tuple[Any, Any]:
    """What is served, and the socket it is served on."""
    from pystator.db.extras import from_extra
    from pystator.db.resolve import find_store
    from pystator.service.keyfile import keys_path

    with from_extra("api", "fastapi", "starlette", "uvicorn", "jwt", "prometheus_client"):
        from pystator.api.server.serving import Serving, listen
        from pystator.api.settings import ApiSettings
    settings = ApiSettings.load(
        keys_file=None if keys is None else str(keys_path(keys)),
        rate=rate,
        cors_origins=tuple(cors) if cors else None,
        insecure=insecure or None,
        otel=otel or None,
    )
    return listen(Serving(find_store(store).url, settings=settings, **where))


def _say_ready(facts: dict[str, Any], *, json: bool) -> None:
    import sys

    if json:
        say_json(facts)
    else:
        say(f"PyStator serves on {facts['url']}  (what there is: {facts['url']}/docs)")
        note("Ctrl-C stops it", "dim")
    sys.stdout.flush()
