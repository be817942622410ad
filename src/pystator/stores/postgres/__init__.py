"""The store in a PostgreSQL database.

::

    store.py            the store; its methods in order of `NativeStore`
    within.py           the same inside the caller's own transaction
    ops.py, writing.py  what is asked of the server, as generators of requests: no I/O
    reads.py, listing.py, pruning.py, restoring.py, definitions.py   further requests
    driving.py          the two functions that run them
    sql.py              the constant statements of loads and commits
    encode.py, rows.py  commits -> values on the wire, values -> records
    link.py, loops.py   connections of threads and of event loops, and what is sent over them
    wire.py, waiting.py one statement's conversation, and who waits for it
    errors.py           what an error says of what was written
"""

from pystator.stores.postgres.store import PostgresStateStore

__all__ = ["PostgresStateStore"]
