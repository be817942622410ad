"""Trials, as bodies and answers."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

from pystator.api.models.fields import Body
from pystator.api.models.machines import SMALL

__all__ = ["TrialBody", "TrialModel"]


def _text(value: object) -> object:
    """Not a number, which would be seconds to some and milliseconds to others."""
    if isinstance(value, str):
        return value
    raise ValueError("a time is a text in ISO 8601, e.g. 2026-03-02T08:00:00Z")


class TrialBody(Body):
    """What is tried, with which machine."""

    machine: dict[str, Any] | None = Field(
        default=None,
        description="A machine that is sent along, with the keys of a machine file. It may name no"
        " guards of the application. Else `machine_name` says one.",
        examples=[SMALL],
    )
    machine_name: str | None = Field(
        default=None,
        description="A machine that is served; needed where several are and none is sent along.",
        examples=[None],
    )
    version: str | None = Field(
        default=None,
        description="A version of `machine_name`; without it, the one that is served.",
        examples=[None],
    )
    state: str | None = Field(
        default=None,
        description="The entity's state, several joined by `+`; without it, one begins.",
        examples=["draft"],
        max_length=10_000,
    )
    trigger: str | None = Field(
        default=None,
        description="The event; without it, what happens by data alone: the beginning, or in"
        " `state` what is taken without an event.",
        examples=["place"],
        min_length=1,
        max_length=255,
    )
    context: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="The entity's data.",
        examples=[{"customer": "ada", "total": 120}],
    )
    payload: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="The event's own data, or new data where there is no event: merged into the"
        " context before guards; of an event, readable as `_event.data`.",
        examples=[{}],
    )
    now: Annotated[AwareDatetime, BeforeValidator(_text)] | None = Field(
        default=None,
        description="The time of the step; the clock's without.",
        examples=["2026-03-02T08:00:00+00:00"],
        strict=False,
    )


class StepModel(BaseModel):
    """One transition that would be taken."""

    source: str | None = Field(description="Where it leads from.", examples=["draft"])
    target: str = Field(description="Where it leads.", examples=["placed"])
    trigger: str | None = Field(
        description="The event; null where it is taken without one.", examples=["place"]
    )
    exited: list[str] = Field(description="States that are left.", examples=[["draft"]])
    entered: list[str] = Field(description="States that are entered.", examples=[["placed"]])


class TimersModel(BaseModel):
    """What would become of the entity's timers."""

    armed: dict[str, datetime] = Field(
        description="Timers that are armed, each with its deadline.", examples=[{}]
    )
    cancelled: list[str] = Field(description="Timers that no longer count.", examples=[[]])


class OutcomeModel(BaseModel):
    """What an event would do."""

    trigger: str | None = Field(description="The event.", examples=["place"])
    success: bool = Field(description="It would be applied.", examples=[True])
    source_state: str | None = Field(description="The state before it.", examples=["draft"])
    target_state: str | None = Field(
        description="The state after it; null when it is rejected.", examples=["placed"]
    )
    reason: str | None = Field(
        description="Why it is rejected, as a stable word; or `ignored`.", examples=[None]
    )
    context: dict[str, Any] | None = Field(
        description="The context after it; null when it is rejected.",
        examples=[{"customer": "ada", "total": 120}],
    )
    actions: list[dict[str, Any]] = Field(
        description="Actions it plans, in order; none was run.", examples=[[]]
    )
    timers: TimersModel = Field(description="What becomes of timers.")
    microsteps: list[StepModel] = Field(description="The transitions that are taken, in order.")
    now: datetime | None = Field(
        description="The time of the step, where it needed one.", examples=[None]
    )
    error: dict[str, Any] | None = Field(
        description="Of a rejection: `code`, `message` and facts.", examples=[None]
    )


class TrialModel(OutcomeModel):
    """What an event would do to which machine."""

    machine_name: str = Field(description="The machine.", examples=["shop_order"])
    machine_version: str = Field(description="Its version.", examples=["2.1"])
    start: OutcomeModel | None = Field(
        description="How the entity began, where no state was given and an event came after."
    )
