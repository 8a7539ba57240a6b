"""What the control API takes: bodies of requests, checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from runtime.account import Account, Grounds


class BodyError(ValueError):
    """A body is not what it should be; the text names the place."""


class Body(BaseModel):
    """Base of all: unknown fields are errors, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


DecisionId = Annotated[str, Field(max_length=200)]


LONGEST_TEXT, MOST_TEXTS = 1000, 50
Text = Annotated[str, AfterValidator(lambda text: text[:LONGEST_TEXT])]  # no decision is refused for its words
Texts = Annotated[list[Text], AfterValidator(lambda texts: texts[:MOST_TEXTS])]


class Grounded(Body):
    """What says who decided, and why."""

    policy: Text = ""
    reason: Text = ""
    bounds: Texts = []

    def grounds(self) -> Grounds:
        """As the cluster keeps them."""
        return Grounds(self.policy, self.reason, tuple(self.bounds))


class Change(Grounded):
    """Of PUT /v1/deployment."""

    deployment: Any
    decision_id: DecisionId = ""


class Decided(Grounded):
    """Of PUT /v1/decision."""

    decision_id: Annotated[str, Field(min_length=1, max_length=200)]
    t_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    interval_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    mode: Literal["act", "advisory", "shadow"]
    status: Literal["unchanged", "advised", "applied", "conflict", "refused", "unknown", "abandoned"]
    deployment: Text = ""
    trouble: Text = ""

    def account(self) -> Account:
        """As it is kept."""
        return Account(self.decision_id, self.t_s, self.interval_s, self.mode, self.status, self.deployment, self.grounds(),
                       self.trouble)


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
