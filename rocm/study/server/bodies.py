"""Bodies that the API accepts; any other is refused with the name of its first misfit."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rocm.study.server.refusal import Refusal
from rocm.study.store.session import Answer, Screen

PublicId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Key = Annotated[str, Field(min_length=1, max_length=40)]


class Body(BaseModel):
    """A JSON object with exactly the members of a subclass; none by itself."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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


class VoteBody(TrialBody):
    """Answer a trial's questions."""

    answers: Annotated[dict[Key, Answer], Field(max_length=20)]
    screen: Screen | None = None


AnyBody = TypeVar("AnyBody", bound=Body)


def read(kind: type[AnyBody], text: bytes) -> AnyBody:
    """A body from JSON, without text one without members; Refusal if it is of another kind."""
    try:
        return kind.model_validate_json(text or b"{}")
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in fault["loc"])[:100] or "body"
        words = f"{place}: {fault['msg']}. See docs/study-api.md."
        raise Refusal(400, "bad_request", words) from error
