"""Layers that keep less or take fewer operations, against the plain ones."""

from copy import deepcopy

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rocm.models.flat_lora import FlatAdamW, LeanLora, Lender, make_lean_lora
from rocm.models.lean_layers import LeanConv2d, LeanGEGLU, LeanNormSilu, make_lean
from rocm.models.lora import adapter_off, save_adapter
from tests.families import random_adapter
from tests.kept import kept_bytes
from tests.tiny_pipeline import random_pipeline


def frozen_network(name: str) -> nn.Module:
    """In float64, so that only a wrong formula can differ."""
    network = getattr(random_pipeline(seed=0), name)
    return network.double().requires_grad_(False).eval()


def adapted(network: nn.Module, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    parameters = random_adapter(network)
    for parameter in parameters:
        parameter.data = parameter.data.to(dtype)
    return parameters


def call(network: nn.Module, state: Tensor) -> Tensor:
    if not hasattr(network, "time_embedding"):
        return network.decode(state, return_dict=False)[0]
    text = torch.linspace(-1, 1, len(state) * 5 * 32, dtype=torch.float64).view(-1, 5, 32)
    time, guidance = torch.tensor([500, 3]), torch.ones(len(state), 32, dtype=torch.float64)
    return network(state, time, text, timestep_cond=guidance, return_dict=False)[0]


def gradients(network: nn.Module, parameters: list[nn.Parameter]) -> tuple[Tensor, ...]:
    """Output, and the gradient of a sum of its squares in the state and the parameters."""
    generator = torch.Generator().manual_seed(2)
    state = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    output = call(network, state)
    found = torch.autograd.grad(output.square().sum(), [state, *parameters])
    return (output.detach(), *found)


@pytest.mark.parametrize(("name", "share"), [("unet", 0.8), ("vae", 0.6)])
def test_lean_layers_give_the_same_and_keep_less(name, share):
    plain, lean = frozen_network(name), frozen_network(name)
    parameters = [adapted(one) if name == "unet" else [] for one in (plain, lean)]
    make_lean(lean)
    kinds = {type(module) for module in lean.modules()}
    assert {LeanConv2d, LeanNormSilu} <= kinds
    assert (LeanGEGLU in kinds) == (name == "unet")
    wanted, found = gradients(plain, parameters[0]), gradients(lean, parameters[1])
    assert all(part.norm() > 0 for part in wanted)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    state = torch.ones(2, 4, 8, 8, dtype=torch.float64, requires_grad=True)
    kept = [kept_bytes(lambda network=one: call(network, state)) for one in (plain, lean)]
    assert 0 < kept[1] / kept[0] < share


def test_a_trainable_convolution_stays_as_it_is():
    network = frozen_network("unet")
    network.conv_in.requires_grad_(True)
    make_lean(network)
    assert type(network.conv_in) is nn.Conv2d
    assert type(network.conv_out) is LeanConv2d


def test_lean_adapter_layers_give_the_same_with_the_adapter_on_and_off():
    plain, lean = frozen_network("unet"), frozen_network("unet")
    parameters = [adapted(plain), adapted(lean)]
    make_lean_lora(lean)
    assert sum(type(module) is LeanLora for module in lean.modules()) == len(parameters[1]) // 2
    wanted, found = gradients(plain, parameters[0]), gradients(lean, parameters[1])
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    with adapter_off(plain), adapter_off(lean):
        off = [gradients(one, [])[0] for one in (plain, lean)]
    torch.testing.assert_close(off[1], off[0], rtol=1e-12, atol=1e-14)
    assert (off[1] - found[0]).norm() > 0.1 * found[0].norm()


@pytest.mark.parametrize("is_autocast", [True, False])
def test_in_bfloat16_lean_layers_stay_as_near_to_float32_as_plain_ones(is_autocast):
    network = frozen_network("unet").float()
    adapted(network, torch.float32)
    state, text = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 32)

    def gradient(network: nn.Module) -> Tensor:
        own = [parameter for parameter in network.parameters() if parameter.requires_grad]
        dtype = network.conv_in.weight.dtype
        inputs = (state.to(dtype), 500, text.to(dtype), None, torch.ones(2, 32, dtype=dtype))
        with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast and network is not exact):
            output = network(*inputs, return_dict=False)[0]
        assert output.dtype == (torch.float32 if network is exact else torch.bfloat16)
        found = torch.autograd.grad(output.float().square().sum(), own)
        return torch.cat([part.flatten() for part in found])

    exact = deepcopy(network)
    for parameter in network.parameters():
        if not (is_autocast or parameter.requires_grad):
            parameter.data = parameter.data.bfloat16()
    lean = deepcopy(network)
    make_lean(lean)
    make_lean_lora(lean)
    wanted, plain, found = (gradient(one) for one in (exact, network, lean))
    assert (found - wanted).norm() < 2 * (plain - wanted).norm()


def test_a_pass_borrows_the_vectors_values_and_its_gradients_add_up_in_float32():
    network = frozen_network("unet").bfloat16()
    parameters = adapted(network, torch.float32)
    make_lean_lora(network)
    optimizer = FlatAdamW(parameters, lr=0.5)
    lender = Lender(network, optimizer, torch.bfloat16)
    states = torch.randn(3, 2, 4, 8, 8, dtype=torch.bfloat16)
    text, guidance = (torch.ones(2, *size, dtype=torch.bfloat16) for size in ((5, 32), (32,)))

    def output(state: Tensor) -> Tensor:
        return network(state, 500, text, None, guidance, return_dict=False)[0].float()

    def lent(state: Tensor) -> Tensor:
        with lender.lent():
            return output(state)

    own = [torch.autograd.grad(output(state).sum(), parameters) for state in states]
    outputs = [lent(state) for state in states]  # all of them before the first goes back
    assert torch.equal(outputs[0], output(states[0]))
    for one in outputs:
        one.sum().backward()
    for number, parameter in enumerate(parameters):
        wanted = sum(gradients[number] for gradients in own)
        assert wanted.any()
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-5, atol=1e-5)
    optimizer.step()
    assert torch.equal(lent(states[0]), output(states[0]))
    assert not torch.equal(lent(states[0]), outputs[0])


def two_optimizers() -> tuple[torch.optim.AdamW, FlatAdamW, list, list]:
    options = {"lr": 0.1, "weight_decay": 0.01}
    shapes = [(3, 2), (5,), (2, 2)]
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=generator) for shape in shapes]
    plain, flat = ([nn.Parameter(value.clone()) for value in values] for _ in range(2))
    return torch.optim.AdamW(plain, **options), FlatAdamW(flat, **options), plain, flat


def descend(optimizer: torch.optim.Optimizer, parameters: list, times: int) -> None:
    for number in range(times):
        optimizer.zero_grad()
        for _ in range(2):  # gradients add up
            sum((one - number).square().sum() for one in parameters).backward()
        optimizer.step()


def test_one_vector_is_stepped_as_its_parts_are_and_either_continues_the_others_state():
    optimizer, flat, parameters, views = two_optimizers()
    descend(optimizer, parameters, 3)
    descend(flat, views, 3)
    torch.testing.assert_close(views, parameters, rtol=1e-6, atol=1e-7)
    storage = flat.vector.untyped_storage().data_ptr()
    assert all(view.untyped_storage().data_ptr() == storage for view in views)
    saved, wanted = (deepcopy(one.state_dict()) for one in (flat, optimizer))
    assert saved["param_groups"] == wanted["param_groups"]
    torch.testing.assert_close(saved["state"], wanted["state"])
    optimizer.load_state_dict(saved)
    flat.load_state_dict(wanted)
    descend(optimizer, parameters, 2)
    descend(flat, views, 2)
    torch.testing.assert_close(views, parameters, rtol=1e-6, atol=1e-7)


def test_a_gradient_that_was_put_in_place_of_a_view_counts():
    _, flat, _, views = two_optimizers()
    before = [view.detach().clone() for view in views]
    views[1].grad = torch.ones(5)
    flat.step()
    assert (before[1] - views[1]).min() > 0.09
    flat.zero_grad()
    assert not any(view.grad.any() for view in views)


def test_an_adapter_of_views_is_saved_as_one_of_its_own(tmp_path):
    network = random_pipeline(seed=0).unet.requires_grad_(False)
    parameters = random_adapter(network)
    for folder in ("plain", "views"):
        (tmp_path / folder).mkdir()
        save_adapter(network, tmp_path / folder)
        FlatAdamW(parameters)
    files = [next((tmp_path / folder).iterdir()) for folder in ("plain", "views")]
    tensors = [load_file(file) for file in files]
    assert list(tensors[0]) == list(tensors[1])
    assert all(torch.equal(tensors[1][name], value) for name, value in tensors[0].items())
    assert files[0].stat().st_size == files[1].stat().st_size
