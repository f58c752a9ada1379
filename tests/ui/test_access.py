"""Who may train, asked of the rule and of the running server itself."""

import pytest

from rocm.errors import RunError
from rocm.ui.access import access

pytestmark = pytest.mark.filterwarnings("ignore")
HANDLERS = [
    *("start", "stop", "resume", "sample_now", "save_now", "cancel", "earlier", "later"),
    *("continue", "export", "open_folder", "delete", "undo", "restore", "empty_bin", "write"),
    *("save_preset", "start_sweep", "start_advice"),
]


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


def test_where_training_is_off_the_endpoints_do_not_exist(serve, tmp_path):
    page = serve(access("0.0.0.0", False, ""))
    assert not set(page.inputs) & {*HANDLERS, "fill", "describe"}
    for name in HANDLERS:
        status, text = page.post(name, ["", "tiny-rocm-kl"])
        assert status != 200 or "error" in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_where_a_token_is_asked_for_a_call_without_it_is_refused(serve, tmp_path):
    page = serve(access("0.0.0.0", False, "secret"))
    assert "open_folder" not in page.inputs  # for a visitor who sits at the machine
    for name in set(HANDLERS) - {"open_folder"}:
        for wrong, words in {"": "Type the admin token", "wrong": "token is not right"}.items():
            status, text = page.call(name, {"token": wrong})
            assert (status, "event: error" in text) == (200, True)
            assert words in text
    assert not (tmp_path / "runs").exists()


def test_without_the_token_nobody_learns_which_files_are_on_this_machine(serve):
    page = serve(access("0.0.0.0", False, "secret"))
    asked = {"setting_prompts": "/no/such/file", "setting_judge": "clip:/no/such/folder"}
    stranger = page.call("describe", asked)[1]
    assert "event: complete" in stranger
    assert "No folder" not in stranger
    assert "does not exist" not in stranger
    assert "does not exist" in page.call("describe", {**asked, "token": "secret"})[1]
