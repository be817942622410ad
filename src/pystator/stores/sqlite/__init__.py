"""The store in a SQLite file.

::

    store.py      the store; its methods in order of `NativeStore`
    within.py     the same inside the caller's own transaction
    writer.py     the one connection that writes, where commits meet; writes.py what is written
    ops.py        commits -> rows, rows -> records: statements, no I/O
    reads.py      paged reads            pruning.py  batches of a prune
    restoring.py  parcels of another store          definitions.py  machines
    files.py      the file and its connections
"""

from pystator.stores.sqlite.store import SQLiteStateStore

__all__ = ["SQLiteStateStore"]
