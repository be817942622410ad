"""The replicated store: served by Redis, kept by PostgreSQL or SQLite.

::

    caller --commit--> Redis: entity, rows, an entry of the stream      (one script)
                         |
                         `--replicator--> PostgreSQL: rows, entity, place in the stream
                                                                        (one transaction)

- ``serving``: the store's reads and writes, which are the hot store's; ``guard`` watches it;
- ``pair``: whether the two belong together; ``places``: what the durable one knows of that;
- ``stream``: the hot one's entries; ``replicator``: applies them;
- ``joining``: brings two stores together, by copying one into the other.
"""

from pystator.stores.replicated.answers import Applied, Known, Lag, Rebuilt
from pystator.stores.replicated.store import ReplicatedStateStore

__all__ = ["Applied", "Known", "Lag", "Rebuilt", "ReplicatedStateStore"]
