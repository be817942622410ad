"""The problem document as a model, and how routes declare the errors that they answer."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pystator.api.problems import MEDIA_TYPE

__all__ = ["ProblemDocument", "declared"]


class Issue(BaseModel):
    """One mistake of a request that does not fit."""

    pointer: str | None = Field(
        default=None,
        description="Where in the body it is, as a JSON pointer; null outside of the body.",
        examples=["/trigger"],
    )
    parameter: str | None = Field(
        default=None,
        description="The parameter it is in; null in the body.",
        examples=["limit"],
    )
    where: str | None = Field(
        default=None,
        alias="in",
        description="`body`, `query`, `path` or `header`.",
        examples=["body"],
    )
    message: str = Field(description="What is wrong.", examples=["it is missing"])
    code: str | None = Field(
        default=None, description="In a machine: the kind of mistake.", examples=[None]
    )
    path: list[str | int] | None = Field(
        default=None,
        description="In a machine: keys and list positions that lead there.",
        examples=[None],
    )
    line: int | None = Field(
        default=None,
        description="In a machine's text: the line, from 1; 0 where there is no text.",
        examples=[None],
    )
    column: int | None = Field(
        default=None,
        description="In a machine's text: the column, from 1; 0 where there is no text.",
        examples=[None],
    )
    suggestion: str | None = Field(
        default=None, description="What was probably meant.", examples=[None]
    )


class ProblemDocument(BaseModel):
    """What went wrong and what to do (RFC 9457); further members are facts of the error."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="The kind of problem, as a URN that ends with the code.",
        examples=["urn:pystator:problem:guard_rejected"],
    )
    title: str = Field(description="The kind of problem, for people.", examples=["A guard said no"])
    status: int = Field(description="The status code of the answer.", examples=[409])
    detail: str = Field(
        description="What is wrong and what to do, for people.",
        examples=["event 'place' in state 'draft': guard 'total > 0' said no"],
    )
    instance: str = Field(
        description="The path of the request.",
        examples=["/api/v1/entities/order-123/events"],
    )
    code: str = Field(
        description="The kind of problem, for programs; it never changes its meaning.",
        examples=["guard_rejected"],
    )
    reason: str | None = Field(
        default=None,
        description="Of an event that was rejected: why, as history keeps it.",
        examples=["guard_rejected"],
    )
    issues: list[Issue] | None = Field(
        default=None, description="Of a request or a machine that does not fit: each mistake."
    )


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers of a route that are problem documents, for its ``responses``."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }
