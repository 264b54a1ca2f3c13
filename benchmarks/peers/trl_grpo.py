"""W4's peer: TRL's GRPOTrainer and RLOOTrainer, sampling with transformers inside the trainer.

Settings: {"micro_batches": N}. A reward is the share of even words, a rule, so that neither side spends its time on a reward
model. For parity both sides are handed the same completions in place of what they would sample.
"""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from serve import serve
from transformers import AutoModelForCausalLM
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl_common import Clock, first_step, tokenizer_of, trainer_arguments


class Given:
    """Mixed into a trainer: prompts are tokens already; completions too, where `given` has some. Counts what was sampled."""

    given: list[list[int]] | None = None
    sampled_tokens = 0

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        self.step_loss = getattr(self, "step_loss", 0.0) + float(loss)
        return loss

    def _tokenize_prompts(self, prompts: list[str]) -> Any:
        return [[int(token) for token in prompt.split()] for prompt in prompts], None, {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        if self.given is not None:
            return self._answer(self.given)
        answer = super()._generate_single_turn(*args, **kwargs)  # type: ignore[misc]
        completions = answer[0] if isinstance(answer, tuple) else answer
        self.sampled_tokens += sum(map(len, completions))
        return answer


class GRPO(Given, GRPOTrainer):
    def _answer(self, given: list[list[int]]) -> Any:
        return given, None


class RLOO(Given, RLOOTrainer):
    def _answer(self, given: list[list[int]]) -> Any:
        return given


def even_words(completions: list[str], **_: Any) -> list[float]:
    """The share of words with an even number."""
    words = [text.split() for text in completions]
    return [sum(word[-1] in "02468" for word in some) / max(1, len(some)) for some in words]


class Peer:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._tokenizer = tokenizer_of(job)
        self._model()

    def parity(self, out: str) -> dict[str, Any]:
        job = {**self._job, "optimiser": {**self._job["optimiser"], "max_grad_norm": 0.0}}
        trainer = self._trainer({"micro_batches": 4}, job)
        trainer.given = job["completions"]
        return first_step(trainer, out, prefix="policy.")

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        trainer = self._trainer(settings)
        clock = Clock()
        trainer.add_callback(clock)
        trainer.train()
        return {**clock.watch.figures(), "tokens": trainer.sampled_tokens}

    def _model(self) -> AutoModelForCausalLM:
        return AutoModelForCausalLM.from_pretrained(self._job["model"], dtype="float32", attn_implementation="sdpa")

    def _trainer(self, settings: dict[str, Any], job: dict[str, Any] | None = None) -> Any:
        job = job or self._job
        trainer, config = {"grpo": (GRPO, GRPOConfig), "rloo": (RLOO, RLOOConfig)}[job["algorithm"]]
        group = job["samples_per_prompt"]
        # transformers' static cache keeps the weights' float32 under autocast, and refuses the bfloat16 that comes
        is_static = settings.get("cache") == "static" and job["dtype"] == "float32"
        arguments = trainer_arguments(
            job,
            settings["micro_batches"],
            job["prompts_per_update"] * group,
            num_generations=group,
            max_completion_length=job["max_new_tokens"],
            temperature=1.0,
            beta=job["beta"],
            epsilon=0.2,
            shuffle_dataset=False,
            max_steps=job["updates"],
            seed=settings.get("seed", 0),
            cache_implementation="static" if is_static else None,
        )
        prompts = [" ".join(map(str, prompt)) for prompt in job["prompts"]]
        return trainer(
            model=self._model(),
            reward_funcs=even_words,
            args=config(**arguments),
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=self._tokenizer,
        )


if __name__ == "__main__":
    serve(Peer)
