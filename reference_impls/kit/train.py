"""The one training loop: one thread, fixed seeds, the same budget for every method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.data import Split, digits


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Run with one thread and a seeded random state; both are put back afterwards.

    The number of threads changes the trained weights, so it is fixed wherever a network is trained.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def train(
    build: Callable[[], nn.Module],
    seed: int,
    *,
    data: Split | None = None,
    epochs: int = 8,
    batch: int = 64,
    lr: float = 1e-2,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    after_step: Callable[[nn.Module, int, int], None] | None = None,
) -> nn.Module:
    """Train a classifier with Adam and a one-cycle schedule; the same seed gives the same start and the same batches.

    Args:
        build: makes the network; called after seeding, so paired variants start from the same numbers.
        seed: of initialisation and batch order.
        data: the digits when not given.
        epochs: passes over the training images.
        batch: images a step; the last incomplete batch of an epoch is left out.
        lr: peak learning rate of the one-cycle schedule.
        optimizer: makes another optimizer; the schedule then scales each of its groups from that group's `lr` and, if
            it has momentum at all, cycles that too.
        penalty: a term added to the cross-entropy, of the network.
        after_step: called as `after_step(network, step, steps)` once each update is done, steps counted from 1.

    Returns:
        the trained network, in evaluation mode.
    """
    split = digits() if data is None else data
    with deterministic(seed):
        network = build()
        stepper = torch.optim.Adam(network.parameters(), lr=lr) if optimizer is None else optimizer(network)
        per_epoch = len(split.train_x) // batch
        steps = epochs * per_epoch
        peaks = [float(group["lr"]) for group in stepper.param_groups]
        has_momentum = bool(stepper.defaults.get("momentum") or stepper.defaults.get("betas"))
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            stepper, max_lr=peaks, total_steps=steps, cycle_momentum=has_momentum
        )
        network.train()
        for step in range(steps):
            if step % per_epoch == 0:
                order = torch.randperm(len(split.train_x))
            start = step % per_epoch * batch
            chosen = order[start : start + batch]
            loss = F.cross_entropy(network(split.train_x[chosen]), split.train_y[chosen])
            if penalty is not None:
                loss = loss + penalty(network)
            stepper.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            stepper.step()
            if step + 1 < steps:
                schedule.step()
            if after_step is not None:
                after_step(network, step + 1, steps)
    return network.eval()


def accuracy(network: nn.Module, data: Split | None = None) -> float:
    """Return the test accuracy in percent, in evaluation mode."""
    split = digits() if data is None else data
    was_training = network.training
    network.eval()
    with torch.no_grad():
        hits = (network(split.test_x).argmax(dim=1) == split.test_y).float().mean()
    network.train(was_training)
    return 100.0 * float(hits)
