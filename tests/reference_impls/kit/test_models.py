from __future__ import annotations

import torch
from torch import Tensor, nn

from reference_impls.kit.models import QuantConv2d, QuantLinear, SmallCNN, SmallMLP, conv_block, identity


def double(w: Tensor) -> Tensor:
    return 2 * w


def test_quantized_layers_use_the_quantized_weight_and_train_the_latent_one() -> None:
    x = torch.randn(2, 3, 8, 8)
    conv = QuantConv2d(3, 5, double)
    plain = nn.functional.conv2d(x, 2 * conv.weight, padding=1)
    assert torch.equal(conv(x), plain)
    conv(x).sum().backward()
    assert conv.weight.grad is not None
    assert conv.bias is None
    linear = QuantLinear(4, 3, double)
    vector = torch.randn(2, 4)
    assert torch.equal(linear(vector), vector @ (2 * linear.weight).T)


def test_block_is_activation_convolution_pool_norm() -> None:
    block = conv_block(identity, nn.Hardtanh)(4, 8)
    assert [type(layer) for layer in block] == [nn.Hardtanh, QuantConv2d, nn.MaxPool2d, nn.BatchNorm2d]
    assert block(torch.randn(2, 4, 8, 8)).shape == (2, 8, 4, 4)


def test_networks_map_digits_to_logits() -> None:
    x = torch.randn(3, 1, 8, 8)
    for network in (SmallCNN(conv_block()), SmallCNN(conv_block(), width=6), SmallMLP(), SmallMLP(hidden=7)):
        assert network(x).shape == (3, 10)


def test_only_the_inner_layers_are_quantized() -> None:
    network = SmallCNN(conv_block(double))
    quantized = [name for name, layer in network.named_modules() if isinstance(layer, QuantConv2d)]
    assert quantized == ["blocks.0.1", "blocks.1.1"]
