"""Derived seeds: a step's randomness depends only on the run's seed and the step's labels, so resuming is exact."""

from __future__ import annotations

import hashlib


def seed_for(seed: int, *labels: str | int) -> int:
    """A 63-bit seed determined by `seed` and `labels` (stage, epoch, step, ...), equal on every machine."""
    text = "/".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
