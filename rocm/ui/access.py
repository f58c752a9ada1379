"""Who may train: everyone on a loopback address, nobody elsewhere, unless a token is asked for."""

import hmac
import ipaddress
from dataclasses import dataclass

from rocm.config import RunConfig
from rocm.errors import ConfigError, RunError

HOW_TO_ALLOW = (
    "Training is off here because others can reach this page. To train, run your own copy "
    "(duplicate this Space, or clone the repository), or set ROCM_ADMIN_TOKEN where the app starts."
)


@dataclass(frozen=True)
class Access:
    """Whether handlers that train or touch files exist, and the token that each call must bring.

    `is_local` means that the visitor sits at this machine, so that a folder can be opened. `lan` is
    this machine's address in its network, empty if the page does not answer to it. `space` is the
    Space that this is, or empty; with `has_login` its visitors can sign in.
    """

    may_train: bool
    token: str = ""
    is_local: bool = False
    lan: str = ""
    space: str = ""
    has_login: bool = False

    @property
    def is_public(self) -> bool:
        """Whether visitors are strangers: the page draws within bounds and names no folder."""
        return not self.may_train or bool(self.token)

    def allows(self, given: str) -> bool:
        """Whether a call with this token may train, and name files of this machine."""
        right = hmac.compare_digest((given or "").encode(), self.token.encode())
        return self.may_train and (not self.token or right)

    def check(self, given: str) -> None:
        """RunError if the token is wrong; every handler that changes something calls this."""
        if not self.may_train:
            raise RunError(HOW_TO_ALLOW)
        if not self.allows(given):
            words = "The admin token is not right." if given else "Type the admin token first."
            raise RunError(
                f"{words} It is the value of ROCM_ADMIN_TOKEN where the app was started."
            )

    def check_settings(self, config: RunConfig) -> None:
        """Refuse settings that run the code of a file, where others can reach the page."""
        if config.user_rewards and not self.is_local:
            raise ConfigError(
                f"reward={config.user_rewards[0]} runs the code of a file, which is allowed on "
                "the command line and on a page at a loopback address only. Choose another reward."
            )


def access(host: str, is_space: bool, token: str) -> Access:
    """Allow training on a loopback address; elsewhere only with a token, which is then required.

    `is_space`: this is a Hugging Face Space, whatever its address.
    """
    is_local = is_loopback(host) and not is_space
    return Access(may_train=bool(token) or is_local, token=token, is_local=is_local)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
