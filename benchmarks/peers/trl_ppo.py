"""W5's peer: the PPOTrainer of TRL 1.12.0, the last release that has one. Settings: {"micro_batches": N, "rollout_batch": N}.

For parity, given completions stand in for sampled ones, with the logits that the policy gives them. They are all as long as may
be: after a shorter one TRL counts one position more, where it puts the reward. And advantages are whitened by the biased
variance, as in the original implementation and in truing; TRL's own is the unbiased one, a factor of 1.0002 on every advantage.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from datasets import Dataset
from serve import serve
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer
from trl_common import Clock, FirstStepDone, save_gradients, tokenizer_of, trainer_arguments

sample, variance = ppo_trainer.batch_generation, ppo_trainer.masked_var


class Peer:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._tokenizer = tokenizer_of(job)
        self._models()

    def parity(self, out: str) -> dict[str, Any]:
        ppo_trainer.batch_generation, ppo_trainer.masked_var = self._given, partial(variance, unbiased=False)
        trainer = self._trainer({"micro_batches": 4, "rollout_batch": 16})
        losses: list[float] = []
        backward = trainer.accelerator.backward

        def noted(loss: torch.Tensor, **kwargs: Any) -> None:
            backward(loss, **kwargs)
            losses.append(float(loss) / trainer.args.gradient_accumulation_steps)

        def stop(*_: Any, **__: Any) -> None:
            if trainer.accelerator.sync_gradients:
                save_gradients(torch.nn.ModuleDict({"policy": trainer.model.policy, "value": trainer.model.value_model}), out)
                raise FirstStepDone

        trainer.accelerator.backward, trainer.optimizer.step = noted, stop
        try:
            trainer.train()
        except FirstStepDone:
            return {"loss": sum(losses)}
        finally:
            ppo_trainer.batch_generation, ppo_trainer.masked_var = sample, variance
        raise RuntimeError("training ended without a step")

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        trainer = self._trainer(settings)
        clock, drawn = Clock(), []

        def counted(*args: Any) -> Any:
            answer = sample(*args)
            drawn.append(int((answer[0][:, args[1].shape[1] :] != args[3]).sum()))
            return answer

        ppo_trainer.batch_generation = counted
        trainer.add_callback(clock)
        trainer.train()
        ppo_trainer.batch_generation = sample
        return {**clock.watch.figures(), "tokens": sum(drawn)}

    def _models(self) -> dict[str, Any]:
        """Policy and value model in float32, under autocast where that is asked for; what only scores in the precision itself."""
        job, frozen = self._job, self._job["dtype"]
        options = {"attn_implementation": "sdpa"}
        return {
            "model": AutoModelForCausalLM.from_pretrained(job["model"], dtype="float32", **options),
            "ref_model": AutoModelForCausalLM.from_pretrained(job["model"], dtype=frozen, **options),
            "reward_model": AutoModelForSequenceClassification.from_pretrained(job["reward_member"], dtype=frozen, **options),
            "value_model": AutoModelForSequenceClassification.from_pretrained(job["reward_member"], dtype="float32", **options),
        }

    def _trainer(self, settings: dict[str, Any]) -> PPOTrainer:
        job = self._job
        episodes = job["prompts_per_update"] * job["samples_per_prompt"]
        arguments = trainer_arguments(
            job,
            settings["micro_batches"],
            episodes,
            seed=settings.get("seed", 0),
            total_episodes=episodes * job["updates"],
            num_ppo_epochs=job["epochs"],
            num_mini_batches=1,
            local_rollout_forward_batch_size=settings["rollout_batch"],
            response_length=job["max_new_tokens"],
            stop_token="eos",
            missing_eos_penalty=None,
            temperature=1.0,
            kl_coef=job["beta"],
            gamma=1.0,
            lam=0.95,
            cliprange=0.2,
            cliprange_value=0.2,
            vf_coef=0.1,
            num_sample_generations=0,
        )
        rows = Dataset.from_dict({"input_ids": job["prompts"]})
        trainer = PPOTrainer(PPOConfig(**arguments), self._tokenizer, train_dataset=rows, eval_dataset=rows, **self._models())
        # The only batch of prompts is also the last, where accelerate would take an optimiser step after every micro-batch.
        trainer.accelerator.gradient_state.plugin_kwargs["sync_with_dataloader"] = False
        return trainer

    def _given(self, policy: Any, queries: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        by_prompt = {tuple(prompt): one for prompt, one in zip(self._job["prompts"], self._job["completions"], strict=True)}
        completions = torch.tensor([by_prompt[tuple(query)] for query in queries.tolist()])
        whole = torch.cat([queries, completions], 1)
        return whole, policy(input_ids=whole).logits[:, queries.shape[1] - 1 : -1]


if __name__ == "__main__":
    serve(Peer)
