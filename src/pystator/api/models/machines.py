"""Machines, as bodies and answers."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

__all__ = [
    "IssueModel",
    "MachineModel",
    "MachinePage",
    "SummaryModel",
    "ValidationModel",
    "VersionModel",
]

SMALL: dict[str, Any] = {
    "meta": {"machine_name": "shop_order", "version": "2.1"},
    "states": [
        {"name": "draft", "type": "initial", "description": "A basket"},
        {"name": "placed", "description": "Bought"},
        {"name": "cancelled", "type": "terminal", "description": "Called off"},
    ],
    "transitions": [
        {
            "trigger": "place",
            "source": "draft",
            "dest": "placed",
            "guards": [{"expr": "total > 0"}],
        },
        {"trigger": "cancel", "source": ["draft", "placed"], "dest": "cancelled"},
    ],
}
"""A machine that is right, for examples."""


class VersionModel(BaseModel):
    """One version of a machine; it never changes."""

    name: str = Field(description="The machine's name.", examples=["shop_order"])
    version: str = Field(description="Its version.", examples=["2.0"])
    fingerprint: str = Field(
        description="Hash of what it means; the same for two texts that mean the same.",
        examples=["e953b1d9fbfa5096dd2cf8b8b6e3c9a5"],
    )
    description: str | None = Field(
        description="For people.", examples=["The life of an order in a shop"]
    )
    created_at: datetime | None = Field(
        description="When it was stored; null for one of the application's code.",
        examples=["2026-03-02T08:00:00+00:00"],
    )
    source: Literal["store", "application"] = Field(
        description="Where it is kept. What code registers cannot be replaced or deleted here.",
        examples=["store"],
    )


class MachineModel(VersionModel):
    """A version with its definition."""

    definition: dict[str, Any] = Field(
        description="What the machine is made from.", examples=[SMALL]
    )


class MachinePage(BaseModel):
    """A page of versions."""

    items: list[VersionModel] = Field(description="In the order of name and version.")
    next: str | None = Field(
        description="Where the next page begins, for `after`; null on the last one.",
        examples=["WyJtYWNoaW5lcyIsInNob3Bfb3JkZXIiLCIyLjAiXQ"],
    )


class IssueModel(BaseModel):
    """One thing that is to be said about a machine."""

    code: str = Field(description="The kind, for programs.", examples=["unreachable"])
    severity: Literal["error", "warning", "info"] = Field(
        description="`error`: it is wrong; `warning`: probably not meant; `info`: worth a look.",
        examples=["warning"],
    )
    message: str = Field(
        description="One sentence.", examples=["nothing leads to state 'refunded'"]
    )
    path: list[str | int] = Field(
        description="Where in the data: keys and list positions.", examples=[["states", 4, "name"]]
    )
    line: int = Field(description="Where in the text, from 1; 0 when unknown.", examples=[12])
    column: int = Field(description="Likewise.", examples=[11])
    text: str | None = Field(description="The text in question.", examples=["refunded"])
    suggestion: str | None = Field(description="What was probably meant.", examples=["refunding"])
    witness: dict[str, Any] | None = Field(
        description="A context and a payload for which it is so, where there is one.",
        examples=[None],
    )


class SummaryModel(BaseModel):
    """A machine in a few facts."""

    name: str = Field(description="Its name.", examples=["shop_order"])
    version: str = Field(description="Its version.", examples=["2.0"])
    states: int = Field(description="How many states it has.", examples=[19])
    transitions: int = Field(description="How many transitions.", examples=[21])
    triggers: list[str] = Field(description="Events it knows.", examples=[["place", "pay"]])
    refs: list[str] = Field(
        description="Requirements its transitions name.", examples=[["ORD-1", "ORD-2"]]
    )
    fingerprint: str = Field(
        description="Hash of what it means.", examples=["e953b1d9fbfa5096dd2cf8b8b6e3c9a5"]
    )


class ValidationModel(BaseModel):
    """Everything that is to be said about a machine."""

    valid: bool = Field(description="It can be stored and served.", examples=[True])
    machine: SummaryModel | None = Field(description="What was read; null where it does not load.")
    issues: list[IssueModel] = Field(
        description="Mistakes, and what analysis finds, in the order of the text."
    )
    more_issues: int = Field(description="How many more there are.", examples=[0])
