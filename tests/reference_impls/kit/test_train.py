from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import SmallCNN, SmallMLP, conv_block
from reference_impls.kit.train import accuracy, deterministic, train


def small() -> Split:
    split = digits()
    return Split(split.train_x[:256], split.train_y[:256], split.test_x[:100], split.test_y[:100])


def weights(network: nn.Module) -> list[Tensor]:
    return [p.detach() for p in network.parameters()]


def test_same_seed_same_network_other_seed_other_network() -> None:
    first, again, other = (train(SmallMLP, seed, data=small(), epochs=1) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(other), strict=True))


def test_paired_variants_start_alike_and_see_the_same_batches() -> None:
    seen: dict[str, list[float]] = {"a": [], "b": []}

    class Spy(SmallMLP):
        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

        def forward(self, x: Tensor) -> Tensor:
            seen[self.key].append(float(x.sum()))
            return super().forward(x)

    for key in seen:
        train(lambda key=key: Spy(key), 0, data=small(), epochs=2)  # type: ignore[misc]
    assert seen["a"] == seen["b"]
    assert len(set(seen["a"])) == 8  # 256 images in batches of 64, reshuffled each epoch


def test_random_state_and_threads_are_put_back() -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with deterministic(9):
        assert torch.get_num_threads() == 1
        torch.rand(100)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads


def test_hooks_are_called_for_every_step_and_penalty_counts() -> None:
    steps: list[tuple[int, int]] = []
    penalised = train(
        SmallMLP,
        0,
        data=small(),
        epochs=2,
        penalty=lambda network: 10 * sum((p**2).sum() for p in network.parameters()),  # type: ignore[arg-type,return-value]
        after_step=lambda _, step, total: steps.append((step, total)),
    )
    assert steps == [(i, 8) for i in range(1, 9)]
    free = train(SmallMLP, 0, data=small(), epochs=2)
    norm = [sum(float((w**2).sum()) for w in weights(network)) for network in (penalised, free)]
    assert norm[0] < norm[1]


def test_another_optimizer_is_used_and_scheduled() -> None:
    made: list[torch.optim.Optimizer] = []

    def sgd(network: nn.Module) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(network.parameters(), lr=0.1))
        return made[0]

    train(SmallMLP, 0, data=small(), epochs=1, optimizer=sgd)
    assert made[0].param_groups[0]["lr"] < 0.001  # the one-cycle schedule ends near zero


@pytest.mark.parametrize(("momentum", "cycled"), [(0.0, False), (0.9, True)])
def test_momentum_is_cycled_only_where_there_is_some(momentum: float, cycled: bool) -> None:
    made: list[torch.optim.SGD] = []
    seen: list[float] = []

    def sgd(network: nn.Module) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(network.parameters(), lr=0.1, momentum=momentum))
        return made[-1]

    def watch(_network: nn.Module, _step: int, _steps: int) -> None:
        seen.append(made[-1].param_groups[0]["momentum"])

    train(SmallMLP, 0, data=small(), epochs=1, optimizer=sgd, after_step=watch)
    assert (len(set(seen)) > 1) == cycled
    assert cycled or set(seen) == {0.0}


def test_accuracy_counts_hits_and_leaves_the_mode_alone() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            return nn.functional.one_hot(torch.zeros(len(x), dtype=torch.int64), 10).float()

    network = Fixed().train()
    split = small()
    assert accuracy(network, split) == pytest.approx(100 * float((split.test_y == 0).float().mean()))
    assert network.training


@pytest.mark.slow
def test_the_toy_task_is_learned_but_not_saturated() -> None:
    scores = [accuracy(train(lambda: SmallCNN(conv_block()), seed)) for seed in range(3)]
    assert min(scores) > 88
    assert max(scores) < 99
