"""Who may train, asked of the rule and of the running server itself."""

import pytest

from rocm.errors import RunError
from rocm.ui.access import access

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    ("host", "is_space", "token", "may_train"),
    [
        ("127.0.0.1", False, "", True),
        ("localhost", False, "", True),
        ("::1", False, "", True),
        ("127.0.0.1.example.org", False, "", False),
        ("", False, "", False),
        ("0.0.0.0", False, "", False),
        ("192.168.1.5", False, "", False),
        ("127.0.0.1", True, "", False),
        ("0.0.0.0", False, "secret", True),
        ("0.0.0.0", True, "secret", True),
    ],
)
def test_training_is_for_loopback_or_a_token(host, is_space, token, may_train):
    assert access(host, is_space, token).may_train == may_train


def test_a_token_is_asked_for_wherever_it_is_set_and_none_opens_a_page_without_training():
    rule = access("127.0.0.1", False, "secret")
    rule.check("secret")
    for nothing in ("", None):
        with pytest.raises(RunError, match="Type the admin token first"):
            rule.check(nothing)
    for wrong in ("Secret", "secret ", "\N{LATIN SMALL LETTER E WITH ACUTE}"):
        with pytest.raises(RunError, match="token is not right"):
            rule.check(wrong)
    with pytest.raises(RunError, match="Training is off"):
        access("0.0.0.0", False, "").check("")


def test_without_the_token_nobody_learns_which_files_are_on_this_machine(serve):
    page = serve(access("0.0.0.0", False, "secret"))
    asked = {"setting_prompts": "/no/such/file", "setting_judge": "clip:/no/such/folder"}
    stranger = page.call("describe", asked)[1]
    assert "event: complete" in stranger
    assert "No folder" not in stranger
    assert "does not exist" not in stranger
    assert "does not exist" in page.call("describe", {**asked, "token": "secret"})[1]
