"""For authors of native stores: what can be said about a commit, and defaults for the rest.

A store of the native protocol decides in ``load`` and ``commit``; everything else follows from what
it has. `AuthoredStore` derives the rest from three reads, by looking through everything, and runs
the async twins in threads. A store that grows overrides what it can answer from an index.

::

    commit --> decide() --> REFUSED, STALE, DUPLICATE: nothing is written
                       `--> Written: entity and history rows --> the author writes both, or nothing
                                     as plain values: entity_values, row_values

``examples/ledger_store.py`` is a whole one.
"""

from pystator.stores.author.deciding import (
    Written,
    decide,
    entity_of,
    entity_values,
    row_of,
    row_values,
)
from pystator.stores.author.defaults import AuthoredStore

__all__ = [
    "AuthoredStore",
    "Written",
    "decide",
    "entity_of",
    "entity_values",
    "row_of",
    "row_values",
]
