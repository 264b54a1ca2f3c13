"""What keeping a ranking's pairs together saves in reward training: the same comparisons, with the same weights, apart.

    python -m benchmarks.rankings [--json]

One optimiser step over 4 rankings of K answers to one prompt each (K = 4, the fewest that InstructGPT's raters ranked, and 9, the
most), prompts around 256 tokens and replies around 32 (as in `texts.pairs`), float32, one thread, processor time. Apart, every
pair shares its prompt between its two answers, as any pair does here, and weighs 1 / C(K, 2). Losses must agree within 1e-5
before anything is timed; then both take turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks import machine
from benchmarks.paired.models import END, make_model
from benchmarks.paired.ratio import paired_ratio
from benchmarks.paired.texts import lognormal_lengths, words
from truing.models.load import load_scorer
from truing.train.config import OptimiserConfig, RewardConfig
from truing.train.examples import Example, PairExample
from truing.train.rankings import Ranking, rankings_of
from truing.train.reward_member import losses
from truing.train.session import ready_to_train
from truing.train.step import Stepper

VOCAB, RANKINGS, SIZES, REPEATS = 8192, 4, (4, 9), 6
CONFIG = RewardConfig(micro_batch_tokens=1024)


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


def step(model: Path, rankings: Sequence[Ranking]) -> tuple[float, float]:
    """Loss and processor seconds of one optimiser step from the initial weights."""
    scorer: PreTrainedModel = ready_to_train(load_scorer(model, seed=0))
    stepper = Stepper(scorer, OptimiserConfig(), 1, "benchmark")
    began = time.process_time()
    metrics = stepper.step(losses(scorer, rankings, CONFIG))
    return metrics["loss"], time.process_time() - began


def measure(model: Path, k: int) -> dict[str, Any]:
    """Ratios of tokens and time, apart over together."""
    pairs = pairs_of_rankings(k)
    together = rankings_of(pairs)
    apart = rankings_of([pair._replace(weight=2 / (k * (k - 1))) for pair in pairs], together=False)
    (loss, _), (loss_apart, _) = step(model, together), step(model, apart)
    if abs(loss - loss_apart) > 1e-5:
        raise SystemExit(f"K = {k}: the losses differ ({loss} and {loss_apart}): nothing is timed")
    turns = [(step(model, together)[1], step(model, apart)[1]) for _ in range(REPEATS)]
    ratio = paired_ratio(*zip(*turns, strict=True))
    tokens = [sum(ranking.n_tokens(share_prompts=True) for ranking in side) for side in (together, apart)]
    return {"k": k, "pairs": len(pairs), "tokens": tokens, "seconds": turns, **ratio._asdict()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the machine and every run, as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="truing-bench-") as folder:
        model = make_model(Path(folder), VOCAB, head="score")
        rows = [measure(model, k) for k in SIZES]
    if given.json:
        print(json.dumps({"machine": machine.describe(), "rows": rows}))
        return
    for row in rows:
        run, run_apart = row["tokens"]
        print(
            f"K = {row['k']}: {run_apart:,} tokens apart, {run:,} together ({run_apart / run:.1f} times fewer); "
            f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] times less processor time, n = {REPEATS}"
        )


if __name__ == "__main__":
    main()
