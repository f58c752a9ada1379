"""What is counted, against what can be counted by hand."""

import pytest
import torch

from rocm.experiments.bench.counter import Counter, saved_bytes

DEVICES = pytest.mark.parametrize("device", ["cpu", "meta"])


@DEVICES
def test_matrix_product_and_its_backward_have_the_flops_of_three_products(device):
    left = torch.ones(3, 5, device=device, requires_grad=True)
    right = torch.ones(5, 7, device=device, requires_grad=True)
    with Counter() as counter:
        (left @ right).sum().backward()
    assert counter.counts.flops == 3 * 2 * 3 * 5 * 7


@DEVICES
def test_peak_is_the_most_that_was_alive_at_once(device):
    with Counter() as counter:
        first = torch.zeros(1000, device=device)
        second = first + 1
        del first
        third = second + 1
        view = third[10:]
        del second, third
        fourth = view * 2
        del view, fourth
    assert counter.counts.peak_bytes == 2 * 4000


@DEVICES
def test_frozen_weights_are_not_counted_as_saved(device):
    layer = torch.nn.Linear(64, 32, device=device).requires_grad_(False)
    pictures = torch.ones(5, 64, device=device, requires_grad=True)
    assert saved_bytes(lambda: layer(pictures)) == 0
    assert saved_bytes(lambda: layer(pictures).tanh()) == 5 * 32 * 4
    assert saved_bytes(lambda: layer(pictures * 2).exp().view(-1)) == 5 * 32 * 4
