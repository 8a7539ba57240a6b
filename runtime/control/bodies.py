"""What the control API takes: bodies of requests, checked."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class BodyError(ValueError):
    """A body is not what it should be; the text names the place."""


class Body(BaseModel):
    """Base of all: unknown fields are errors, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


DecisionId = Annotated[str, Field(max_length=200)]


class Change(Body):
    """Of PUT /v1/deployment."""

    deployment: Any
    decision_id: DecisionId = ""


class Rollback(Body):
    """Of POST /v1/rollback."""

    decision_id: DecisionId = ""


class Hold(Body):
    """Of POST /v1/pin and /v1/pause."""

    for_s: Annotated[float, Field(gt=0, le=30 * 86400)]
    why: Annotated[str, Field(min_length=1, max_length=500)]


B = TypeVar("B", bound=Body)


def parsed(form: type[B], value: Any) -> B:
    """A body of a form.

    Raises:
        BodyError: it is not one.
    """
    try:
        return form.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise BodyError(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from error
