"""From models in memory to the plain callables that evaluations, the monitor and the red team are written against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.evals.evaluate import Sample, SamplePolicy, Scorer
from truing.evals.report import Attributes, Gold
from truing.models.forward import token_logprobs
from truing.models.ragged import RaggedBatch
from truing.models.reward import RewardEnsemble
from truing.models.runs import token_runs
from truing.models.template import completion_text, prompt_tokens
from truing.records import Prompt, SampledCompletion, content_hash, seed_for
from truing.rollout.sampler import Sampler, SamplingSettings
from truing.world import gold

_BATCH_TOKENS = 8192


def policy_generator(
    sampler: Sampler, tokenizer: PreTrainedTokenizerBase, settings: SamplingSettings, seed: int
) -> Callable[[Sequence[Prompt]], list[str]]:
    """A `Generate` callable: one text a prompt, in order; equal prompts get samples of their own from one prefill.

    What is drawn depends on `seed` and the prompts asked together, not on what was asked before.
    """

    def generate(prompts: Sequence[Prompt]) -> list[str]:
        if not prompts:
            return []
        wanted: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            wanted.setdefault(prompt.prompt_id, []).append(index)
        distinct = [prompts[indices[0]] for indices in wanted.values()]
        groups = _sample(sampler, tokenizer, distinct, settings, max(map(len, wanted.values())), seed)
        texts = [""] * len(prompts)
        for indices, group in zip(wanted.values(), groups, strict=True):
            for index, completion in zip(indices, group, strict=False):
                texts[index] = completion_text(tokenizer, completion.tokens)
        return texts

    return generate


def policy_sampler(
    sampler: Sampler,
    tokenizer: PreTrainedTokenizerBase,
    settings: SamplingSettings,
    samples_per_prompt: int,
    seed: int,
    reference: PreTrainedModel | None = None,
) -> SamplePolicy:
    """A `SamplePolicy` callable; with a reference, each sample carries log policy - log reference at the sampling temperature."""

    def sample(prompts: Sequence[Prompt]) -> list[list[Sample]]:
        groups = _sample(sampler, tokenizer, prompts, settings, samples_per_prompt, seed)
        flat = [(prompt, completion) for prompt, group in zip(prompts, groups, strict=True) for completion in group]
        kls: Sequence[float | None] = [None] * len(flat)
        if reference is not None:
            settings.require_exact()
            kls = _log_ratios(reference, tokenizer, flat, settings.temperature)
        rows = [
            Sample(completion_text(tokenizer, c.tokens), len(c.tokens), c.ending, kl)
            for (_, c), kl in zip(flat, kls, strict=True)
        ]
        return [rows[i : i + samples_per_prompt] for i in range(0, len(rows), samples_per_prompt)]

    return sample


def ensemble_scorer(ensemble: RewardEnsemble) -> Scorer:
    """A `Scorer` callable: normalised scores [M, B] of (prompt, completion) pairs. Equal pairs are scored once."""

    def score(answers: Sequence[tuple[Prompt, str]]) -> NDArray[np.float64]:
        index: dict[tuple[str, str], int] = {}
        for prompt, text in answers:
            index.setdefault((prompt.prompt_id, text), len(index))
        distinct = {index[prompt.prompt_id, text]: (prompt.messages, text) for prompt, text in answers}
        scores_MU = ensemble.score_texts([distinct[i] for i in range(len(index))]).double().numpy()
        return np.asarray(scores_MU[:, [index[prompt.prompt_id, text] for prompt, text in answers]])

    return score


def world_gold() -> Gold:
    """The embedded world's gold rule: "gold" is its scalar, beside every attribute it has."""

    def attributes(prompt: Prompt, text: str) -> Attributes:
        scored = asdict(gold.score(prompt, text))
        return {"gold" if name == "scalar" else name: value for name, value in scored.items() if name != "content"}

    return attributes


def _sample(
    sampler: Sampler,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    settings: SamplingSettings,
    samples_per_prompt: int,
    seed: int,
) -> list[list[SampledCompletion]]:
    drawn = seed_for(seed, "policy", content_hash([prompt.prompt_id for prompt in prompts]))
    tokens = [prompt_tokens(tokenizer, prompt.messages) for prompt in prompts]
    return sampler.sample(tokens, samples_per_prompt=samples_per_prompt, settings=settings, seed=drawn)


@torch.no_grad()
def _log_ratios(
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[tuple[Prompt, SampledCompletion]],
    temperature: float,
) -> list[float]:
    """Sum over a completion's tokens of log policy - log reference, in nats (k1)."""
    prompts = [prompt_tokens(tokenizer, prompt.messages) for prompt, _ in rows]
    sequences = [[*prompt, *completion.tokens] for prompt, (_, completion) in zip(prompts, rows, strict=True)]
    ratios = [0.0] * len(rows)
    order = sorted(range(len(rows)), key=lambda index: len(sequences[index]))
    for run in token_runs(order, [len(sequence) for sequence in sequences], _BATCH_TOKENS):
        batch = RaggedBatch.from_sequences([sequences[row] for row in run], reference.device)
        where = batch.positions([[i >= len(prompts[row]) for i in range(len(sequences[row]))] for row in run])
        scores = token_logprobs(reference, batch, where, temperature=temperature)
        logprobs = torch.split(scores.logprobs_N.cpu(), [len(rows[row][1].tokens) for row in run])
        for row, reference_logprobs in zip(run, logprobs, strict=True):
            ratios[row] = sum(rows[row][1].logprobs) - float(reference_logprobs.sum())
    return ratios
