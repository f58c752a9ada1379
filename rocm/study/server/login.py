"""Login with Hugging Face on a Space: OpenID Connect's authorization code with PKCE (RFC 7636).

The page keeps verifier and state, so the server needs neither cookie nor session.
"""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rocm.study.server.refusal import Refusal

SETTINGS = ("OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "SPACE_HOST")
TIMEOUT_S = 10
MAX_BYTES = 100_000
NO_ANSWER = "Hugging Face does not answer, so you cannot be logged in now. Try again in a minute."
NO_LOGIN = "Hugging Face did not accept this login. Log in again."


@dataclass(frozen=True)
class Login:
    """A Space's application at the provider; `place` is the address of this server's studies."""

    provider: str
    client_id: str
    client_secret: str
    place: str

    def url(self, study_id: str) -> str:
        """Where a rater logs in; the page adds its state and code challenge."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self._back(study_id),
            "scope": "openid",
        }
        return f"{self._metadata['authorization_endpoint']}?{urllib.parse.urlencode(asked)}"

    def subject(self, study_id: str, code: str, verifier: str) -> str:
        """The provider's unchanging id of the account; Refusal if it does not accept the code."""
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back(study_id),
            "client_id": self.client_id,
            "code_verifier": verifier,
        }
        basic = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        body = urllib.parse.urlencode(given).encode()
        tokens = _ask(self._metadata["token_endpoint"], f"Basic {basic}", body)
        about = _ask(self._metadata["userinfo_endpoint"], f"Bearer {tokens.get('access_token')}")
        subject = about.get("sub")
        if not isinstance(subject, str) or not 1 <= len(subject) <= 200:
            raise Refusal(503, "unavailable", NO_ANSWER)
        return subject

    def _back(self, study_id: str) -> str:
        return f"{self.place}/{study_id}"

    @cached_property
    def _metadata(self) -> dict[str, Any]:
        return _ask(f"{self.provider}/.well-known/openid-configuration")


def login_of(settings: Mapping[str, str]) -> Login | None:
    """The login of a Space, from the variables of `hf_oauth: true`; None unless all are set."""
    provider, client_id, client_secret, host = (settings.get(name, "") for name in SETTINGS)
    if not all((provider, client_id, client_secret, host)):
        return None
    return Login(provider.rstrip("/"), client_id, client_secret, f"https://{host}/study")


def _ask(address: str, authorization: str = "", body: bytes | None = None) -> dict[str, Any]:
    """A JSON object from the provider; Refusal if it sends none."""
    headers = {"Accept": "application/json"}
    if authorization:
        headers["Authorization"] = authorization
    request = urllib.request.Request(address, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            answered = json.loads(answer.read(MAX_BYTES))
    except urllib.error.HTTPError as error:
        if error.code < 500:
            raise Refusal(403, "login_failed", NO_LOGIN) from error
        raise Refusal(503, "unavailable", NO_ANSWER) from error
    except (OSError, ValueError) as error:
        raise Refusal(503, "unavailable", NO_ANSWER) from error
    if not isinstance(answered, dict):
        raise Refusal(503, "unavailable", NO_ANSWER)
    return answered
