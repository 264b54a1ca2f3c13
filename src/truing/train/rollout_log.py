"""What is written down of an update's rollouts: a row each, and their means with standard errors.

Legend: B episodes (prompt + completion), N completion tokens of all episodes laid end to end, M reward members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Self

import torch
from torch import Tensor

from truing.losses.masked import sequence_sums
from truing.losses.policy import k1, kl_estimates
from truing.records import Ending, Prompt, Rollout
from truing.train.log import Value
from truing.train.minibatches import Episodes

Gold = Callable[[Prompt, str], float]


@dataclass(frozen=True)
class RolloutMetrics:
    """Means over an update's rollouts, before the update. `_se` are standard errors over prompts.

    KL is None where there is no reference: it then has no column.
    """

    proxy: float
    """Mean score of the ensemble, without penalties."""
    proxy_se: float
    reward: float
    """What the policy is trained on: the proxy, or the penalty where the end is missing; before the KL penalty."""
    length_tokens: float
    missing_end: float
    """Share of completions that ran into the length limit."""
    ensemble_spread: float
    """Standard deviation between members, mean over completions."""
    kl_nats: float | None = None
    """k1: what the penalty charges for, summed over a completion."""
    k1_se: float | None = None
    k2: float | None = None
    k2_se: float | None = None
    k3: float | None = None
    k3_se: float | None = None

    @classmethod
    def of(
        cls,
        episodes: Episodes,
        members_MB: Tensor,
        reward_B: Tensor,
        behaviour_N: Tensor,
        reference_N: Tensor | None,
        lengths_B: Tensor,
        group_size: int,
    ) -> Self:
        """Of scored episodes."""
        proxy_B = members_MB.mean(0)
        kl = asdict(kl_estimates(behaviour_N, reference_N, lengths_B)) if reference_N is not None else {}
        return cls(
            proxy=float(proxy_B.mean()),
            proxy_se=group_standard_error(proxy_B.tolist(), group_size),
            reward=float(reward_B.mean()),
            length_tokens=float(lengths_B.float().mean()),
            missing_end=sum(one.ending is not Ending.END_OF_TURN for one in episodes.completions) / len(lengths_B),
            ensemble_spread=float(members_MB.std(0, unbiased=False).mean()),
            **{"kl_nats" if name == "k1" else name: number for name, number in kl.items()},
        )

    def row(self) -> dict[str, float]:
        """As columns of `metrics.jsonl`, and as an observer is shown them."""
        return {name: number for name, number in asdict(self).items() if number is not None}

    @classmethod
    def from_row(cls, row: dict[str, Value]) -> dict[str, float]:
        """`row()` again, from a row of `metrics.jsonl`."""
        return {field.name: float(str(row[field.name])) for field in fields(cls) if field.name in row}


def rollout_rows(
    update: int,
    episodes: Episodes,
    prompts: Sequence[Prompt],
    texts: Sequence[str],
    members_MB: Tensor,
    behaviour_N: Tensor,
    reference_N: Tensor | None,
    lengths_B: Tensor,
    gold: Gold | None,
) -> list[Rollout]:
    """A row an episode. `prompts` and `texts` are each episode's."""
    kl_B: list[float | None] = [None] * len(texts)
    if reference_N is not None:
        kl_B = sequence_sums(k1(behaviour_N, reference_N), lengths_B).tolist()
    proxy_B, members_BM = members_MB.mean(0).tolist(), members_MB.T.tolist()
    return [
        Rollout(
            update=update,
            group=group,
            prompt=prompt,
            text=text,
            length_tokens=len(one.tokens),
            ending=one.ending,
            proxy=proxy,
            proxy_members=tuple(members),
            kl_nats=kl,
            gold=None if gold is None else gold(prompt, text),
        )
        for group, one, prompt, text, proxy, members, kl in zip(
            episodes.group_B, episodes.completions, prompts, texts, proxy_B, members_BM, kl_B, strict=True
        )
    ]


def gold_metrics(rollouts: Sequence[Rollout], group_size: int) -> dict[str, float]:
    """Mean gold and its standard error, where it is known."""
    gold = [rollout.gold for rollout in rollouts if rollout.gold is not None]
    return {"gold": sum(gold) / len(gold), "gold_se": group_standard_error(gold, group_size)} if gold else {}


def without_gold(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """As an observer may see them."""
    return [rollout.model_copy(update={"gold": None}) for rollout in rollouts]


def group_standard_error(values: Sequence[float], group_size: int) -> float:
    """Standard error of a mean whose samples come in groups of one prompt each; 0 with a single group."""
    means = torch.tensor(values, dtype=torch.float64).view(-1, group_size).mean(1)
    return float(means.std()) / len(means) ** 0.5 if len(means) > 1 else 0.0
