"""Bodies that the API accepts; any other is refused with the name of its first misfit."""

import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rocm.study.server.refusal import Refusal, misfit

PublicId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Key = Annotated[str, Field(min_length=1, max_length=40)]


class Body(BaseModel):
    """A JSON object with exactly these members."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class EmptyBody(Body):
    """No members."""


class LoginBody(Body):
    """What a login at the provider has left with the page."""

    code: Annotated[str, Field(min_length=1, max_length=2000)]
    verifier: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.~-]{43,128}$")]


class JoinBody(Body):
    """Come in: how, and as whom."""

    source: Annotated[str, Field(max_length=20)]
    external_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")] | None = None
    login: LoginBody | None = None


class ConsentBody(Body):
    """Agree to a version of the text."""

    version: Annotated[str, Field(min_length=1, max_length=100)]


class TrialBody(Body):
    """Name a trial."""

    trial: PublicId


class AnswerBody(Body):
    """An answer to one question."""

    side: Annotated[str, Field(max_length=10)]
    rt_ms: int
    tie_reason: Annotated[str, Field(max_length=20)] | None = None


class ScreenBody(Body):
    """Sizes in CSS pixels."""

    viewport_width: int
    viewport_height: int
    picture_size: int


class VoteBody(TrialBody):
    """Answer a trial's questions."""

    answers: Annotated[dict[Key, AnswerBody], Field(max_length=20)]
    screen: ScreenBody | None = None


AnyBody = TypeVar("AnyBody", bound=Body)


def read(kind: type[AnyBody], given: Any) -> AnyBody:
    """A body as an object; Refusal if it is not of this kind."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise misfit(error) from error


def object_of(text: bytes) -> Any:
    """What JSON text stands for; an empty one is an empty object; Refusal if it is no JSON."""
    try:
        return json.loads(text or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad_request", "The body is no JSON. See docs/study-api.md.") from error
