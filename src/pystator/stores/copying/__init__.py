"""One store into another: entities, history and machines as they are, in parts, and looked over.

::

    report.py     what is said of a copy
    reading.py    keys and rows of both stores, in order
    comparing.py  what the target lacks of one key, and what it must not have: no I/O
    passes.py     passes over everything, until one finds nothing to write

Laws:

- A copy is done when a pass over everything has found nothing to write: both stores were read from
  the beginning to the end after the last write, and every field of every entity and row was equal.
- What the target has is never overwritten, but for an entity by a later version of the same one.
  Whatever else is there under the same key is a conflict: it is reported, and nothing of this key
  is written.
- Rows come first and their entity with the last of them: who reads the target meanwhile never sees
  an entity without its history.
- Nothing is kept elsewhere about how far a copy has come. What is there already is found by looking
  at the target, so a copy that was killed goes on where it was, and nothing is there twice.
"""

from pystator.stores.copying.passes import copy_store
from pystator.stores.copying.report import Conflict, Copied

__all__ = ["Conflict", "Copied", "copy_store"]
