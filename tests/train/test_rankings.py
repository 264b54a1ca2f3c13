"""Rankings in reward training and DPO: every answer once, and the same loss and gradient as the pairs apart."""

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from transformers import PreTrainedModel

from truing.losses.masked import LossOutput
from truing.models.load import load_policy, load_scorer, load_tokenizer
from truing.records import PreferencePair, Prompt
from truing.store.artifacts import Store
from truing.store.files import write_records
from truing.train import dpo, reward
from truing.train.config import DPOConfig, RewardConfig
from truing.train.dpo import DPOInputs
from truing.train.examples import PairExample, pair_examples
from truing.train.rankings import Ranking, pair_scores, rankings_of
from truing.train.reward import RewardInputs
from truing.train.reward_member import losses
from truing.train.session import ready_to_train

from .conftest import make_pairs

ANSWERS = ("red.", "red. i hope this helps you.", "it is red.", "grey, i think.")


def ranked(number: int, answers: tuple[str, ...] = ANSWERS) -> list[PreferencePair]:
    """All pairs of `answers`, best first; the last two are tied."""
    prompt = Prompt.from_text(f"what colour is fox {number}?")
    return [
        PreferencePair(
            comparison_id=f"{number}#{i}-{j}",
            prompt=prompt,
            chosen=answers[i],
            rejected=answers[j],
            label=0.5 if i >= 2 else 1.0,
            ranking=f"item-{number}",
        )
        for i, j in combinations(range(len(answers)), 2)
    ]


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> PreTrainedModel:
    return ready_to_train(load_scorer(tiny_model_dir, seed=0))


def examples(folder: Path, pairs: list[PreferencePair], max_tokens: int = 512) -> list[PairExample]:
    return pair_examples(load_tokenizer(folder), pairs, max_tokens, "truncate_left").items


def gradient(model: PreTrainedModel, outputs: Iterable[LossOutput]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    total = 0.0
    for output in outputs:
        output.loss.backward()
        total += float(output.loss.detach())
    return total, {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def taken_apart(pairs: list[PairExample]) -> list[Ranking]:
    """Each pair alone, with the weight that it has in its ranking."""
    share = {pair.row: 1 / len(ranking.pairs) for ranking in rankings_of(pairs) for pair in ranking.pairs}
    return rankings_of([pair._replace(weight=pair.weight * share[row], ranking="") for row, pair in enumerate(pairs)])


def test_every_answer_stands_once_and_pairs_alone_stay_alone(tiny_model_dir: Path) -> None:
    pairs = [*ranked(0), *make_pairs(2, 1), *ranked(1, ANSWERS[:3])]
    found = rankings_of(examples(tiny_model_dir, pairs))
    assert [(len(ranking.answers), len(ranking.pairs)) for ranking in found] == [(4, 6), (2, 1), (2, 1), (3, 3)]
    assert [(pair.chosen, pair.rejected) for pair in found[0].pairs] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert [pair.row for ranking in found for pair in ranking.pairs] == list(range(11))
    assert len(rankings_of(examples(tiny_model_dir, pairs), together=False)) == 11


def test_one_name_under_two_prompts_is_two_rankings(tiny_model_dir: Path) -> None:
    same_name = [pair.model_copy(update={"ranking": "batch 7"}) for pair in (*ranked(0), *ranked(1))]
    assert [len(ranking.answers) for ranking in rankings_of(examples(tiny_model_dir, same_name))] == [4, 4]


@pytest.mark.parametrize("share_prompts", [True, False])
@pytest.mark.parametrize("budget", [30, 10_000])
def test_together_is_the_same_loss_and_gradient_as_apart_with_the_same_weights(
    share_prompts: bool, budget: int, model: PreTrainedModel, tiny_model_dir: Path
) -> None:
    pairs = examples(tiny_model_dir, [*ranked(0), *make_pairs(2, 1), *ranked(1, ANSWERS[:3])])
    config = RewardConfig(share_prompts=share_prompts, micro_batch_tokens=budget, center_coefficient=0.01)
    together = rankings_of(pairs)
    apart = taken_apart(pairs)
    loss, gradients = gradient(model, losses(model, together, config))
    loss_apart, gradients_apart = gradient(model, losses(model, apart, config.with_changes(micro_batch_tokens=10_000)))
    assert loss == pytest.approx(loss_apart, abs=1e-5)
    for name, value in gradients.items():
        assert_close(value, gradients_apart[name], atol=1e-5, rtol=1e-4)
    tokens = [sum(one.n_tokens(share_prompts=share_prompts) for one in several) for several in (together, apart)]
    assert tokens[0] < 0.6 * tokens[1]


@pytest.mark.parametrize("reference", ["cached", "live"])
@pytest.mark.parametrize("loss", ["dpo", "ipo"])
@pytest.mark.parametrize("budget", [30, 10_000])
def test_dpo_is_the_same_together_as_apart_with_the_same_weights(
    budget: int, loss: str, reference: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    pairs = examples(tiny_model_dir, [*ranked(0), *make_pairs(2, 1), *ranked(1, ANSWERS[:3])])
    config = DPOConfig(loss=loss, reference=reference, micro_batch_tokens=budget)
    found = {}
    for name, rankings in (("together", rankings_of(pairs)), ("apart", taken_apart(pairs))):
        policy = ready_to_train(load_policy(tiny_model_dir))
        taken = dpo.take_reference(policy, rankings, config, tmp_path / name)
        with torch.no_grad():
            for weight in policy.parameters():
                weight.mul_(1.1)  # away from the reference, where all margins are nought
        rows = range(len(rankings))
        found[name] = gradient(policy, dpo.losses(policy, rankings, rows, taken, config))
    (total, gradients), (total_apart, gradients_apart) = found["together"], found["apart"]
    assert total == pytest.approx(total_apart, abs=1e-5)
    largest = max(float(value.abs().max()) for value in gradients_apart.values())
    for name, value in gradients.items():
        assert_close(value, gradients_apart[name], atol=1e-5 * max(1.0, largest), rtol=1e-4)


def test_answers_whose_prompt_was_cut_at_different_places_are_different_answers(tiny_model_dir: Path) -> None:
    pairs = ranked(0, ("red.", "grey.", "red. i hope that this helps you and that you like it."))
    longest = max(len(pair.rejected.tokens) for pair in examples(tiny_model_dir, pairs))
    (cut,) = rankings_of(examples(tiny_model_dir, pairs, longest - 2))
    assert len(cut.pairs) == 3
    assert len(cut.answers) > 3


def test_scores_come_in_the_order_of_the_rows(model: PreTrainedModel, tiny_model_dir: Path) -> None:
    interleaved = [pair for both in zip(ranked(0), ranked(1), strict=True) for pair in both]
    pairs = examples(tiny_model_dir, interleaved)
    alone = torch.cat([pair_scores(model, rankings_of([pair]), share_prompts=True) for pair in pairs], dim=1)
    assert_close(pair_scores(model, rankings_of(pairs), share_prompts=True), alone, atol=1e-5, rtol=0)


def test_a_ranking_is_one_comparison_of_a_step(tiny_model_dir: Path, tmp_path: Path) -> None:
    write_records(tmp_path / "train.jsonl", [pair for number in range(4) for pair in ranked(number)])
    write_records(tmp_path / "heldout.jsonl", ranked(9))
    store, inputs = Store(tmp_path / "out"), RewardInputs(tiny_model_dir, tmp_path)
    config = RewardConfig(members=1, batch_pairs=2, parallel=False, optimiser={"lr": 1e-3})
    steps = {}
    for how in ("together", "apart"):
        scored = reward.run(config.with_changes(rankings=how), inputs, store, how)
        policy = dpo.run(DPOConfig(batch_pairs=2, rankings=how), DPOInputs(tiny_model_dir, tmp_path), store, f"dpo-{how}")
        for artifact in (scored, policy):
            assert artifact.manifest.metrics["heldout_accuracy"].n == 1  # held-out pairs are of one prompt
        steps[how] = [len((one.path / "metrics.jsonl").read_text().splitlines()) for one in (scored, policy)]
    assert steps == {"together": [2, 2], "apart": [12, 12]}
