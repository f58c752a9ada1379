"""The voting link as raters can use it."""

import pytest

from rocm.ui.links import qr_code, reachable

LINK = "http://192.168.1.20:7860/study/0123456789ab"


@pytest.mark.parametrize(
    ("base", "lan", "expected"),
    [
        ("http://localhost:7860/", "192.168.1.20", "http://192.168.1.20:7860/"),
        ("http://127.0.0.1/x/", "192.168.1.20", "http://192.168.1.20/x/"),
        ("http://127.0.0.1:7860/", "", "http://127.0.0.1:7860/"),
        ("https://raters.example/", "192.168.1.20", "https://raters.example/"),
    ],
)
def test_an_address_of_this_machine_only_becomes_that_of_the_network(base, lan, expected):
    assert reachable(base, lan) == expected


def test_a_link_that_others_cannot_use_has_no_qr_code():
    assert qr_code("http://127.0.0.1:7860/study/0123456789ab") == ""
    assert qr_code(LINK).count("<svg") == 1
