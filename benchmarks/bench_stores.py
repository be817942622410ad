"""The context codec and the store in memory, each beside the least that does the same."""

import copy
import json
from decimal import Decimal

from floors import Row, compare
from pystator.records import Commit, Entry, EntryKind, Lookup
from pystator.stores import codec
from pystator.stores.memory import InMemoryStateStore

FLAT = {"customer": "ada", "qty": 3, "price": 12.5, "open": True, "note": None}
NESTED = {
    "customer": {"name": "ada", "tier": "gold"},
    "items": [{"sku": "a-1", "qty": 1, "price": 9.5}, {"sku": "b-2", "qty": 4, "price": 1.25}],
    "total": 14.5,
}
MONEY = {"price": Decimal("1.10"), "qty": 3}


def dumps(value):
    """The least: no check, no tag."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def run() -> list[Row]:
    """The rows of this benchmark."""
    rows = []
    for name, value in (("flat", FLAT), ("nested", NESTED)):
        text = codec.encode(value)
        rows += [
            _row(f"codec.copy, {name}", codec.copy, copy.deepcopy, value, "copy.deepcopy"),
            _row(f"codec.encode, {name}", codec.encode, dumps, value, "json.dumps, unchecked"),
            _row(f"codec.decode, {name}", codec.decode, json.loads, text, "json.loads"),
        ]
    rows.append(_row("codec.encode, a Decimal", codec.encode, _money, MONEY, "default=str"))
    rows.append(_event())
    return rows


def _row(name, case, floor, value, does) -> Row:
    return compare(name, lambda: case(value), lambda: floor(value), does=does, number=5_000)


def _money(value):
    return json.dumps(value, default=str)


def _event() -> Row:
    """Load and commit of one event, records and history row included."""
    store = InMemoryStateStore()
    store.set_state("e", "open", metadata={"context": FLAT, "machine_name": "m"})
    lookup = (Lookup("e", "m"),)
    kept = {"e": ("open", FLAT)}
    rows = []

    def case():
        entity = store.load(lookup)[0].entity
        context = entity.context
        context["qty"] = version = entity.version + 1
        patch = ({"qty": version}, ())
        entry = Entry(version, EntryKind.EVENT, "go", None, 1, patch, "open", "open")
        store.commit(
            (
                Commit(
                    "e",
                    "m",
                    version - 1,
                    version,
                    None,
                    context,
                    None,
                    None,
                    "1",
                    "f",
                    1,
                    (entry,),
                    "c",
                ),
            )
        )

    def floor():
        state, context = kept["e"]
        context = context.copy()
        context["qty"] += 1
        kept["e"] = (state, context)
        rows.append(("go", state, state, {"qty": context["qty"]}))

    does = "a dictionary of tuples, a copied context, an appended tuple; unchecked"
    return compare("memory, load and commit", case, floor, does=does, number=3_000)


if __name__ == "__main__":
    from floors import table

    print(table(run()))
