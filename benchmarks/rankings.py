"""What keeping a ranking's pairs together saves in reward training and DPO: the same comparisons, with the same weights, apart.

    python -m benchmarks.rankings [--json]

One optimiser step over 4 rankings of K answers to one prompt each (K = 4, the fewest that InstructGPT's raters ranked, and 9, the
most), prompts around 256 tokens and replies around 32 (as in `texts.pairs`), float32, one thread, processor time. Apart, every
pair shares its prompt between its two answers, as any pair does here, and weighs 1 / C(K, 2). DPO's reference, another model, is
taken before: it saves as much again. Losses must agree within 1e-5 before anything is timed; then both take turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks import machine
from benchmarks.models import END, make_model
from benchmarks.ratio import paired_ratio
from benchmarks.texts import lognormal_lengths, words
from truing.losses.masked import LossOutput
from truing.models.load import load_policy, load_scorer
from truing.train import dpo, reward_member
from truing.train.config import DPOConfig, OptimiserConfig, RewardConfig
from truing.train.examples import Example, PairExample
from truing.train.rankings import Ranking, rankings_of
from truing.train.session import ready_to_train
from truing.train.step import Stepper

VOCAB, RANKINGS, SIZES, REPEATS = 8192, 4, (4, 9), 6
REWARD, DPO = RewardConfig(micro_batch_tokens=1024), DPOConfig(micro_batch_tokens=1024)

Step = Callable[[], tuple[float, float]]
"""One optimiser step from the initial weights: its loss and its processor seconds."""


def pairs_of_rankings(k: int) -> list[PairExample]:
    """All pairs of `k` answers to each prompt, the first the best."""
    generator = np.random.default_rng(0)
    prompts = [words(generator, n, VOCAB) for n in lognormal_lengths(generator, RANKINGS, 256, 0.4, 96, 640)]
    pairs = []
    for number, prompt in enumerate(prompts):
        replies = [[*words(generator, n - 1, VOCAB), END] for n in lognormal_lengths(generator, k, 32, 0.5, 8, 128)]
        answers = [Example(prompt + reply, [False] * len(prompt) + [True] * len(reply)) for reply in replies]
        pairs += [PairExample(one, other, 1.0, 1.0, "", str(number)) for one, other in combinations(answers, 2)]
    return pairs


def reward_model(folder: Path, rankings: Sequence[Ranking]) -> Step:
    """Reward training from one initial model."""
    path = make_model(folder, VOCAB, head="score")
    return lambda: _timed(load_scorer(path, seed=0), lambda scorer: reward_member.losses(scorer, rankings, REWARD))


def policy(folder: Path, rankings: Sequence[Ranking]) -> Step:
    """DPO from one initial model."""
    path, other = (make_model(folder / name, VOCAB, seed=seed) for seed, name in enumerate(("policy", "reference")))
    reference = dpo.take_reference(load_policy(other), rankings, DPO, folder)
    rows = range(len(rankings))
    return lambda: _timed(load_policy(path), lambda model: dpo.losses(model, rankings, rows, reference, DPO))


def _timed(model: PreTrainedModel, losses: Callable[[PreTrainedModel], Iterable[LossOutput]]) -> tuple[float, float]:
    stepper = Stepper(ready_to_train(model), OptimiserConfig(), 1, "benchmark")
    began = time.process_time()
    metrics = stepper.step(losses(model))
    return metrics["loss"], time.process_time() - began


def measure(what: str, k: int) -> dict[str, Any]:
    """Ratios of tokens and time, apart over together."""
    pairs = pairs_of_rankings(k)
    sides = (
        rankings_of(pairs),
        rankings_of([pair._replace(weight=2 / (k * (k - 1))) for pair in pairs], together=False),
    )
    with tempfile.TemporaryDirectory(prefix="truing-bench-") as folder:
        together, apart = (WORKS[what](Path(folder) / str(number), side) for number, side in enumerate(sides))
        (loss, _), (loss_apart, _) = together(), apart()
        if abs(loss - loss_apart) > 1e-5:
            raise SystemExit(f"{what}, K = {k}: the losses differ ({loss} and {loss_apart}): nothing is timed")
        turns = [(together()[1], apart()[1]) for _ in range(REPEATS)]
    ratio = paired_ratio(*zip(*turns, strict=True))
    tokens = [sum(ranking.n_tokens(share_prompts=True) for ranking in side) for side in sides]
    return {"work": what, "k": k, "pairs": len(pairs), "tokens": tokens, "seconds": turns, **ratio._asdict()}


WORKS: dict[str, Callable[[Path, Sequence[Ranking]], Step]] = {"reward": reward_model, "dpo": policy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the machine and every run, as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(what, k) for what in WORKS for k in SIZES]
    if given.json:
        print(json.dumps({"machine": machine.describe(), "rows": rows}))
        return
    for row in rows:
        run, run_apart = row["tokens"]
        print(
            f"{row['work']}, K = {row['k']}: {run_apart:,} tokens apart, {run:,} together ({run_apart / run:.1f} times fewer); "
            f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] times less processor time, n = {REPEATS}"
        )


if __name__ == "__main__":
    main()
