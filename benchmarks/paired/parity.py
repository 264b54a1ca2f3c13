"""Do both sides compute the same thing? Loss and gradients of the first optimiser step, compared before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

LOSS_TOLERANCE = 1e-5
"""Largest absolute difference between the losses, in float32."""
GRADIENT_TOLERANCE = 1e-4
"""Largest difference between the gradients: of all together, over their norm; within each tensor, over its largest entry."""


class Parity(NamedTuple):
    """How far the sides are apart, in float32."""

    loss_ours: float
    loss_peer: float
    gradient_difference: float
    """Norm of the difference of the whole gradient over the norm of the peer's."""
    worst_tensor: str
    worst_difference: float
    """Largest absolute difference within one tensor over the largest absolute entry of the peer's, where that is worst."""

    @property
    def holds(self) -> bool:
        """Whether every difference is within its tolerance."""
        return (
            abs(self.loss_ours - self.loss_peer) <= LOSS_TOLERANCE
            and self.gradient_difference <= GRADIENT_TOLERANCE
            and self.worst_difference <= GRADIENT_TOLERANCE
        )


def compare_files(loss_ours: float, loss_peer: float, ours: Path, peer: Path) -> Parity:
    """Parity of two losses and two safetensors files of gradients."""
    return compare(loss_ours, loss_peer, load_file(ours), load_file(peer))


def compare(loss_ours: float, loss_peer: float, ours: Mapping[str, Tensor], peer: Mapping[str, Tensor]) -> Parity:
    """Raises ValueError where one side has a gradient that the other lacks."""
    if different := sorted(set(ours) ^ set(peer)):
        raise ValueError(f"only one side has a gradient of {', '.join(different[:3])} ({len(different)} in all)")
    differences = {name: (ours[name].double() - peer[name].double()) for name in peer}
    norm = torch.stack([gradient.double().norm() for gradient in peer.values()]).norm()
    relative = {name: _relative(difference, peer[name]) for name, difference in differences.items()}
    worst = max(relative, key=relative.__getitem__)
    total = torch.stack([difference.norm() for difference in differences.values()]).norm()
    return Parity(loss_ours, loss_peer, float(total / norm), worst, relative[worst])


def _relative(difference: Tensor, reference: Tensor) -> float:
    largest = float(difference.abs().max())
    return largest / float(reference.abs().max()) if largest else 0.0
