"""What became of events, as HTTP answers."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from pystator.api.conditions import etag
from pystator.api.problems import problem_of, refusal_of
from pystator.api.rendering import Json
from pystator.errors import FSMError
from pystator.service.answers import Answer

__all__ = ["item_of", "response_of"]


def response_of(
    answer: Answer, instance: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer; of an event that was rejected, a problem document with the same facts."""
    told = dict(headers or {})
    if answer.version:
        told["ETag"] = etag(answer.version)
    if answer.replayed:
        told["Idempotency-Replayed"] = "true"
    facts = answer.facts
    if answer.context is not None:
        facts = {**facts, "context": answer.context}
    if answer.error is None:
        return Json(facts, status, told)
    return refusal_of(answer.error, instance, facts, told)


def item_of(
    answer: Answer | FSMError, entity_id: str, trigger: str, instance: str
) -> dict[str, Any]:
    """What became of one event of many: its own status, ``ETag`` and, if it failed, problem."""
    if isinstance(answer, FSMError):
        failure = problem_of(answer, instance)
        return {
            "status": failure["status"],
            "etag": None,
            "replayed": False,
            "entity_id": entity_id,
            "trigger": trigger,
            "success": False,
            "error": failure,
        }
    error = answer.error
    reason = {"reason": answer.facts["reason"]}
    problem = None if error is None else problem_of(error, instance, reason)
    return {
        "status": 200 if problem is None else problem["status"],
        "etag": etag(answer.version) if answer.version else None,
        "replayed": answer.replayed,
        **answer.facts,
        "error": problem,
    }
