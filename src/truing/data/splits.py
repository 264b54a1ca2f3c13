"""Held-out parts that share nothing with training: what is split is the prompt, or a larger group such as a debate."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from truing.errors import TruingError
from truing.records import Prompt, seed_for

ItemT = TypeVar("ItemT")


class Split(NamedTuple, Generic[ItemT]):
    """Two parts of a list in its order; no key is in both."""

    train: list[ItemT]
    heldout: list[ItemT]


def split_by(items: Sequence[ItemT], key: Callable[[ItemT], Hashable], heldout_fraction: float, seed: int) -> Split[ItemT]:
    """Hold out whole keys until about `heldout_fraction` of the items is held out.

    Keys are taken in an order drawn from `seed`, so the split does not depend on the items' order. At least one key is on
    either side. Raises TruingError where there are fewer than two keys.
    """
    counts: dict[str, int] = {}
    for item in items:
        name = str(key(item))
        counts[name] = counts.get(name, 0) + 1
    if len(counts) < 2:
        raise TruingError(
            f"{len(items)} rows share one prompt or group: nothing can be held out. Add others, or give a held-out file."
        )
    order = sorted(counts, key=lambda name: seed_for(seed, "split", name))
    held: set[str] = set()
    total = 0
    for name in order[:-1]:
        if held and total + counts[name] / 2 > heldout_fraction * len(items):
            break
        held.add(name)
        total += counts[name]
    return Split(
        [item for item in items if str(key(item)) not in held],
        [item for item in items if str(key(item)) in held],
    )


def group_of(prompt: Prompt) -> str:
    """What must not be in both parts: the prompt's `group` where it has one, else the prompt itself."""
    group = prompt.meta.get("group")
    return prompt.prompt_id if group is None else f"group:{group}"
