"""The shortest ways: one load and one commit, blocking, which are what most events ask for.

They do what `pystator.stores.redis.ops` and `pystator.stores.redis.writing` do of many, without
generators; who goes on after an error is `pystator.stores.redis.talk`, here as there.
"""

from pystator.records import Entity, Outcome
from pystator.stores.keys import is_storable
from pystator.stores.redis.encode import Write
from pystator.stores.redis.link import Link
from pystator.stores.redis.ops import getting
from pystator.stores.redis.rows import entity_of
from pystator.stores.redis.writing import Terms

__all__ = ["commit_one", "load_one"]


def load_one(link: Link, entity_id: str, machine: str) -> Entity | None:
    """One entity."""
    if not is_storable(entity_id, machine):
        return None
    layout = link.layout
    partition = layout.partition(entity_id)
    reply = link.run_one(partition, getting(layout.entity(entity_id)), reads=True)
    owner = reply[0]
    if owner != machine and owner is not None:
        other = getting(layout.other(entity_id, machine))
        reply = link.run_one(partition, other, reads=True)
    return entity_of(entity_id, reply)


def commit_one(link: Link, terms: Terms, write: Write) -> Outcome:
    """Write one."""
    if write.answer is not None:
        return write.answer
    return terms.outcome(link.run_one(*terms.command(write), reads=False, blames=True))
