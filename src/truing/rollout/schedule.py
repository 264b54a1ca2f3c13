"""Continuous batching: requests wait, are admitted as soon as a slot is free, and leave at the token that ends them.

Live rows always fill the first slots: where one leaves, the last moves into its place, so a step costs what its live rows cost
and stragglers are cheap. A prompt is run once for all its requests, also for those that are admitted later.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.models.runs import token_runs
from truing.records import Ending, SampledCompletion
from truing.rollout.decode import Decoder, Prompt
from truing.rollout.draw import draw
from truing.rollout.request import Request, Row, Token, places
from truing.rollout.sampler import SamplingSettings

_PREFILL_TOKENS = 8192
"""Prompt tokens run at once, or one prompt."""
_SHARED_TOKENS, _SHARERS = 96, 4
"""Tokens a prompt, and samples of each, from which on prompts are kept once for all their samples (measured)."""


@dataclass(frozen=True)
class Rules:
    """What holds for all requests of one call."""

    settings: SamplingSettings
    tokenizer: PreTrainedTokenizerBase
    end_tokens: frozenset[int]
    slots_for: Callable[[int], int]
    """How many requests may be under way at once where each may take so many columns. Raises TruingError where not even one."""
    weights_version: int
    share_prompts: bool
    """Keep a long prompt once for all its samples where that can be done."""


class Schedule:
    """Requests under way. `step` draws one token for each live one; what is finished is in `done`, by its number."""

    def __init__(self, decoder: Decoder, requests: Sequence[Request], rules: Rules) -> None:
        self._decoder, self._rules = decoder, rules
        self._requests = list(requests)
        self._waiting = deque(_in_order(requests))
        self._prompts: dict[tuple[int, ...], Prompt] = {}
        self._live: list[Row] = []
        self._cancelled: set[int] = set()
        self._columns = max(request.columns for request in requests)
        rules.slots_for(self._columns)  # refused now, where it does not fit
        self._slot_columns = 1
        """Of the cache: without what stands outside it."""
        self._shares_prompts = rules.share_prompts and decoder.can_share and _is_worth_sharing(requests)
        self._ends_E = torch.tensor(sorted(rules.end_tokens), device=decoder.model.device)
        self.done: dict[int, SampledCompletion] = {}

    @property
    def is_finished(self) -> bool:
        """Nothing waits and nothing is under way."""
        return not self._waiting and not self._live

    def add(self, request: Request) -> None:
        """One more, behind those that wait: its number is the next. Raises TruingError where the cache does not hold it alone."""
        self._rules.slots_for(request.columns)
        self._waiting.append(len(self._requests))
        self._requests.append(request)

    def cancel(self, number: int) -> None:
        """End a request at the next step, with what it has drawn so far."""
        self._cancelled.add(number)

    @property
    def decoded(self) -> tuple[int, int]:
        """Tokens that finished requests ran one by one (the last of each is never run), and the keys they saw in all."""
        runs = [(len(self._requests[number].prompt), max(0, len(one.tokens) - 1)) for number, one in self.done.items()]
        return sum(ran for _, ran in runs), sum(ran * prompt + ran * (ran + 1) // 2 for prompt, ran in runs)

    @torch.inference_mode()
    def step(self) -> list[Token]:
        """One token for every live request, newly admitted ones included."""
        told = self._drop_cancelled()
        under_way = len(self._live)
        admitted = self._admit()
        if not self._live:
            return told
        logits = []
        if under_way:
            rows = self._live[:under_way]
            prompts = [row.states for row in rows if row.states is not None] or None
            logits.append(self._decoder.step([row.tokens[-1] for row in rows], [row.position for row in rows], prompts))
        if admitted:
            logits.append(torch.stack(admitted))
        return told + self._draw(logits[0] if len(logits) == 1 else torch.cat(logits))

    def _admit(self) -> list[Tensor]:
        """Fill free slots from the queue; returns the first logits of each new row."""
        first = []
        for numbers in self._runs(self._take()):
            self._run_prompts(numbers)
            for number in numbers:
                row = self._row(number)
                prompt = self._prompts[row.request.prompt]
                if self._shares_prompts:
                    row.states = prompt.states
                else:
                    self._decoder.cache.fill(len(self._live), prompt.states)
                self._live.append(row)
                first.append(prompt.logits_V)
        return first

    def _take(self) -> list[int]:
        """Take from the queue while there is room. One longer than all before it makes the cache longer, and may have to wait
        for others to leave: the longer it is, the fewer slots it has.
        """
        taken: list[int] = []
        while self._waiting:
            request = self._requests[self._waiting[0]]
            columns = max(self._columns, request.columns)
            if len(self._live) + len(taken) >= self._rules.slots_for(columns):
                break
            self._columns = columns
            outside = len(request.prompt) if self._shares_prompts else 0
            self._slot_columns = max(self._slot_columns, request.columns - outside)
            taken.append(self._waiting.popleft())
        if taken:
            self._reserve(len(self._live) + len(taken))
        return taken

    def _reserve(self, slots: int) -> None:
        """Make room for so many rows; for more where some are under way, which each growth has to copy."""
        if self._decoder.has_room(slots, self._slot_columns):
            return
        if self._live:
            slots = min(2 * slots, self._rules.slots_for(self._columns))
        self._decoder.reserve(slots, self._slot_columns, kept=len(self._live))

    def _row(self, number: int) -> Row:
        return Row.of(number, self._requests[number], self._rules.settings, self._rules.tokenizer)

    def _runs(self, numbers: Sequence[int]) -> list[list[int]]:
        """Cut into runs whose prompts are run together. An equal prompt costs nothing more."""
        prompts = [self._requests[number].prompt for number in numbers]
        is_new = [index == 0 or prompt != prompts[index - 1] for index, prompt in enumerate(prompts)]
        lengths = [len(prompt) if new else 0 for prompt, new in zip(prompts, is_new, strict=True)]
        return [[numbers[index] for index in run] for run in token_runs(range(len(numbers)), lengths, _PREFILL_TOKENS)]

    def _run_prompts(self, numbers: Sequence[int]) -> None:
        """Run the prompts that have not been; forget all others: equal prompts stand next to each other in the queue."""
        asked = dict.fromkeys(self._requests[number].prompt for number in numbers)
        new = [prompt for prompt in asked if prompt not in self._prompts]
        known = {prompt: self._prompts[prompt] for prompt in asked if prompt in self._prompts}
        run = self._decoder.prefill(new) if new else []
        if self._shares_prompts:
            run = [Prompt(prompt.states.copied(self._decoder.cache_dtype), prompt.logits_V) for prompt in run]
        self._prompts = known | dict(zip(new, run, strict=True))

    def _draw(self, logits_RV: Tensor) -> list[Token]:
        early = [slot for slot, row in enumerate(self._live) if not row.may_end]
        if early:
            logits_RV[torch.tensor(early, device=logits_RV.device)[:, None], self._ends_E] = -torch.inf
        drawn = draw(logits_RV, places(self._live, logits_RV.device), self._rules.settings)
        ends, logprobs = self._rules.end_tokens, drawn.logprobs_R.tolist()
        if any(map(math.isnan, logprobs)):
            raise TruingError(
                "sampling: the model's logits are not numbers (NaN): its weights have diverged, or hold NaN already"
            )
        told = [
            row.take(token, logprob, token in ends)
            for row, token, logprob in zip(self._live, drawn.tokens_R.tolist(), logprobs, strict=True)
        ]
        for slot in range(len(told) - 1, -1, -1):
            if (ending := told[slot].ending) is not None:
                self._retire(slot, ending)
        return told

    def _retire(self, slot: int, ending: Ending) -> None:
        """Take a row out; the last live one moves into its slot."""
        row = self._live[slot]
        last = self._live.pop()
        if last is not row:
            self._decoder.cache.move(len(self._live), slot, last.column)
            self._live[slot] = last
        self._finish(row, ending)

    def _finish(self, row: Row, ending: Ending) -> None:
        self.done[row.number] = row.completion(ending, self._rules.weights_version)

    def _drop_cancelled(self) -> list[Token]:
        if not self._cancelled:
            return []
        told = [Token(number, None, 0.0, Ending.CANCELLED) for number in self._cancelled if number not in self.done]
        for slot in range(len(self._live) - 1, -1, -1):
            if self._live[slot].number in self._cancelled:
                self._retire(slot, Ending.CANCELLED)
        for number in self._cancelled.intersection(self._waiting):
            self._waiting.remove(number)
            self._finish(self._row(number), Ending.CANCELLED)
        self._cancelled.clear()
        return told


def _is_worth_sharing(requests: Sequence[Request]) -> bool:
    """Whether reading a prompt once for its samples gains more than the calls for each prompt cost."""
    prompts = {request.prompt for request in requests}
    is_long = sum(map(len, prompts)) >= _SHARED_TOKENS * len(prompts)
    return is_long and len(requests) >= _SHARERS * len(prompts)


def _in_order(requests: Sequence[Request]) -> list[int]:
    """Equal prompts next to each other; those that may take longest first, since what starts last decides when all is done."""
    longest: dict[tuple[int, ...], int] = {}
    for request in requests:
        longest[request.prompt] = max(longest.get(request.prompt, 0), request.max_new_tokens)
    place = {prompt: index for index, prompt in enumerate(longest)}

    def key(number: int) -> tuple[int, int, int, int]:
        prompt = requests[number].prompt
        return -longest[prompt], len(prompt), place[prompt], -requests[number].max_new_tokens

    return sorted(range(len(requests)), key=key)
