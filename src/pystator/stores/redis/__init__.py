"""The store in a Redis or Valkey server, or a cluster of them.

::

    store.py             the store; its methods in order of `NativeStore`
    ops.py, writing.py   what is asked of the server, as generators of requests: no I/O
    reads.py, listing.py, feed.py, pruning.py, restoring.py, machines.py       further requests
    quick.py             the shortest ways: one load, one commit
    layout.py            the names of keys; partitions of a cluster
    scripts.py, lua/     the scripts, each of which touches one slot
    encode.py, rows.py   commits -> arguments of the script; replies -> records
    link.py, talk.py     what is sent where, and again when a server sends it elsewhere
    pool.py, loops.py    connections of threads and of event loops; wire.py one of them
    errors.py            what an error says of what was written
    checks.py            what a server is looked at for when it is connected
    later.py             rows that may wait
"""

from pystator.stores.redis.store import RedisStateStore

__all__ = ["RedisStateStore"]
