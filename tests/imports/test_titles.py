from __future__ import annotations

import pytest

from qkb.imports.titles import likeness


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("XNOR-Net: ImageNet Classification", "XNOR-Net- Imagenet classification", "same"),
        ("Self-Binarizaing Networks", "Self-Binarizing Networks", "spelled"),
        ("Nets of Bits Nets of Bits: Training Nets", "Nets of Bits: Training Nets", "spelled"),
        ("Optimisation of Binary Networks", "Optimization of Binary Networks", "spelled"),
        ("HAWQ-V2: Hessian Aware Quantization", "HAWQ-V3: Hessian Aware Quantization", "like"),
        ("Training 2-bit Networks from Scratch", "Training 4-bit Networks from Scratch", "like"),
        ("Binarized Neural Networks", "Binarized Neural Networks: Training with One Bit", "part"),
        ("Training with Just One Bit", "Binarized Neural Networks: Training with Just One Bit", "part"),
        ("Loss-aware Binarization of Deep Networks", "Loss-aware Weight Quantization of Deep Networks", "other"),
        ("Quantization", "Quantization: A Survey", "other"),
        ("TinyNet", "TinyNet: Distilling a Large Net", "like"),
        ("TinyNet", "TinyNetwork: Distilling a Large Net", "other"),
        ("Ternary Weight Networks", "Trained Ternary Quantization", "other"),
        ("量子化", "量子化", "same"),
        ("", "", "same"),
        ("", "A Title", "other"),
    ],
)
def test_likeness(one: str, other: str, how: str) -> None:
    assert likeness(one, other) == how
    assert likeness(other, one) == how
