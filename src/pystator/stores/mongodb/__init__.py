"""The store in a MongoDB database.

::

    store.py            the store; its methods in order of `NativeStore`
    documents.py        what the documents are: records <-> plain BSON
    loading.py, writing.py, encode.py, later.py   what is asked of the server, as generators: no I/O
    indexes.py          the collections' indexes, and which layout a database has
    link.py, loops.py   clients of threads and of event loops, and what is sent over them
    errors.py           what an error says of what was written
"""

from pystator.stores.mongodb.store import MongoDBStateStore

__all__ = ["MongoDBStateStore"]
