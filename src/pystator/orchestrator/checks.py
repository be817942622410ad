"""What is asked before the engine: is the entity this machine's, does the validator let it pass."""

from typing import Any

from pystator.engine.copying import detach
from pystator.engine.result import TransitionResult
from pystator.errors import (
    EntityArchivedError,
    EntityMachineMismatchError,
    EntityNotFoundError,
    ErrorCode,
    FSMError,
    InvalidTransitionError,
    MachineVersionMismatchError,
    UndefinedStateError,
)
from pystator.orchestrator.answers import raised, refusal
from pystator.orchestrator.cases import Case
from pystator.orchestrator.settings import Settings, Validator
from pystator.records import HISTORY, Context, Entity, to_datetime

__all__ = ["archived", "check_entity", "no_entity", "validate"]


def check_entity(
    settings: Settings, entity: Entity, *, any_state: bool = False
) -> TransitionResult | None:
    """See that the running machine can take the entity on.

    Args:
        settings: The running machine.
        entity: The entity.
        any_state: It is about to be put elsewhere: the state it is in does not matter.

    Returns:
        What being put there at its ``updated_at`` would do; None when nobody needs to know.

    Raises:
        EntityMachineMismatchError: It belongs to another machine.
        MachineVersionMismatchError: Another version wrote it, in a state that this one does not
            have.
    """
    if entity.machine_name != settings.name:
        raise EntityMachineMismatchError(
            f"entity {entity.entity_id!r} belongs to machine {entity.machine_name!r},"
            f" not to {settings.name!r}: this store keeps one entity for an id;"
            " use another id, or a store that tells machines apart",
            context={"entity_id": entity.entity_id, "machine_name": entity.machine_name},
        )
    if any_state or not entity.fingerprint or entity.fingerprint == settings.fingerprint:
        return None
    try:
        return settings.machine.place(entity.state, entity.context, entity.updated_at)
    except UndefinedStateError as error:
        raise MachineVersionMismatchError(
            f"entity {entity.entity_id!r} is in state {entity.state!r},"
            f" which version {settings.version!r} of machine {settings.name!r} does not have"
            f" (version {entity.machine_version!r} wrote it):"
            " bring the state back, or move the entity with force_state",
            context={
                "entity_id": entity.entity_id,
                "state": entity.state,
                "machine_version": entity.machine_version,
                "running_version": settings.version,
            },
        ) from error


def no_entity(settings: Settings, entity_id: str) -> EntityNotFoundError:
    """The error of an event for an entity that has to be created first."""
    return EntityNotFoundError(
        f"there is no entity {entity_id!r} of machine {settings.name!r}:"
        " create it first with create_entity",
        context={"entity_id": entity_id, "machine_name": settings.name},
    )


def archived(settings: Settings, entity_id: str, since: int) -> EntityArchivedError:
    """The error of an event for an entity that was put away."""
    return EntityArchivedError(
        f"entity {entity_id!r} of machine {settings.name!r} is archived and takes no events:"
        " take it back first with unarchive",
        context={"entity_id": entity_id, "archived_at": to_datetime(since).isoformat()},
    )


def validate(
    validator: Validator, settings: Settings, case: Case, state: str, context: Context, now: int
) -> TransitionResult | None:
    """Ask the user's validator; None when it has nothing against the event."""
    merged = detach({**context, **case.payload} if case.payload else context)
    merged.pop(HISTORY, None)
    told: list[str] = []
    error: FSMError
    try:
        passed, errors = validator(case.entity_id, state, case.trigger, merged)
    except Exception as failure:  # noqa: BLE001 # the user's own code: its error is the event's
        reason, error = "evaluation_failed", raised("the context validator", failure)
    else:
        if passed:
            return None
        told = _told(errors)
        reason, error = "context_invalid", _invalid(case, state, told)
    return refusal(
        error,
        reason,
        trigger=settings.normalise(case.trigger) or None,
        state=state,
        context=context,
        now=now,
        metadata={"errors": told} if told else None,
    )


def _told(errors: Any) -> list[str]:
    return [errors] if isinstance(errors, str) else [str(each) for each in errors or ()]


def _invalid(case: Case, state: str, told: list[str]) -> InvalidTransitionError:
    return InvalidTransitionError(
        f"{case.what} of entity {case.entity_id!r} was refused by the context validator: "
        + ("; ".join(told) or "it gave no reason"),
        context={"state": state, "trigger": case.trigger or None, "errors": told},
        code=ErrorCode.CONTEXT_INVALID,
    )
