"""The two functions that do the I/O of the PostgreSQL store: they run its operations."""

from typing import Any, TypeVar

import psycopg

from pystator.errors import StoreUnavailableError
from pystator.stores.postgres.link import Link
from pystator.stores.postgres.ops import Operation, Request

__all__ = ["arun", "run"]

T = TypeVar("T")


def run(link: Link, operation: Operation[T]) -> T:
    """Run an operation over the connections of threads."""
    answer: Any = None
    blamed: psycopg.Error | None = None
    wrote = False
    try:
        while True:
            request = operation.send(answer) if blamed is None else operation.throw(blamed)
            answer = blamed = None
            try:
                if isinstance(request, Request):
                    answer = link.run(request.statement, request.params, reads=request.reads)
                else:
                    link.run_all(request)
                wrote = wrote or not request.reads
            except psycopg.Error as error:
                blamed = error
            except StoreUnavailableError as error:
                _qualify(error, wrote=wrote)
                raise
    except StopIteration as done:
        result: T = done.value
        return result


async def arun(link: Link, operation: Operation[T]) -> T:
    """Run an operation over those of the running loop."""
    answer: Any = None
    blamed: psycopg.Error | None = None
    wrote = False
    while True:
        try:
            request = operation.send(answer) if blamed is None else operation.throw(blamed)
        except StopIteration as done:
            result: T = done.value
            return result
        answer = blamed = None
        try:
            if isinstance(request, Request):
                answer = await link.arun(request.statement, request.params, reads=request.reads)
            else:
                await link.arun_all(request)
            wrote = wrote or not request.reads
        except psycopg.Error as error:
            blamed = error
        except StoreUnavailableError as error:
            _qualify(error, wrote=wrote)
            raise


def _qualify(error: StoreUnavailableError, *, wrote: bool) -> None:
    """That nothing was written is said of the whole operation, not of its last statement."""
    if wrote:
        error.context.pop("written", None)
