import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from truing.errors import TruingError
from truing.losses.masked import LossOutput
from truing.models.forward import token_logprobs
from truing.models.load import load_policy
from truing.models.ragged import RaggedBatch
from truing.train.config import OptimiserConfig
from truing.train.step import SPEED, Stepper, mean_speed, schedule_factor

CONSTANT = OptimiserConfig(lr=0.1, schedule="constant", warmup_fraction=0)


def squared_error(model: nn.Linear, inputs_N: Tensor, count: int) -> LossOutput:
    error_N = model(inputs_N[:, None])[:, 0] - 2 * inputs_N
    return LossOutput((error_N**2).sum() / count, {"rows": torch.tensor(len(inputs_N) / count)})


def line(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(1, 1).to(dtype)


@pytest.mark.parametrize("cuts", [[12], [1, 11], [5, 4, 3]])
def test_any_split_into_micro_batches_gives_the_same_step(cuts: list[int]) -> None:
    inputs_N = torch.linspace(-1, 1, 12)
    whole, split = line(), line()
    expected = Stepper(whole, CONSTANT, 10, "test").step([squared_error(whole, inputs_N, 12)])
    got = Stepper(split, CONSTANT, 10, "test").step(squared_error(split, part, 12) for part in inputs_N.split(cuts))
    assert {name: got[name] for name in got.keys() - SPEED} == pytest.approx(
        {name: expected[name] for name in expected.keys() - SPEED}, abs=1e-6
    )
    for a, b in zip(whole.parameters(), split.parameters(), strict=True):
        assert_close(a, b)


def test_micro_batches_are_made_one_at_a_time() -> None:
    model, alive = line(), []

    def outputs() -> Iterator[LossOutput]:
        for part in torch.linspace(-1, 1, 4).split(2):
            alive.append(all(weight.grad is not None for weight in model.parameters()))
            yield squared_error(model, part, 4)

    Stepper(model, CONSTANT, 10, "test").step(outputs())
    assert alive == [False, True]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights(bad: float) -> None:
    model = line()
    before = [weight.detach().clone() for weight in model.parameters()]
    stepper = Stepper(model, CONSTANT, 10, "sft")
    with pytest.raises(TruingError, match=r"sft, step 1 of 10: the loss is (nan|inf).*checkpoint is kept.*optimiser\.lr = 0\.1"):
        stepper.step([squared_error(model, torch.tensor([bad]), 1)])
    for weight, was in zip(model.parameters(), before, strict=True):
        assert_close(weight.detach(), was, rtol=0, atol=0)


def test_small_steps_are_not_lost_in_bfloat16() -> None:
    config = OptimiserConfig(lr=1e-5, schedule="constant", warmup_fraction=0, eps=1e-8)
    model = line(torch.bfloat16)
    stepper = Stepper(model, config, 1000, "test")
    start = stepper.masters[0].item()
    for _ in range(300):
        stepper.step([squared_error(model, torch.ones(4, dtype=torch.bfloat16), 4)])
    assert abs(stepper.masters[0].item() - start) == pytest.approx(0.003, rel=0.05)
    assert model.weight.item() == stepper.masters[0].bfloat16().item()


def test_gradients_are_clipped_and_reported_unclipped() -> None:
    model = line()
    config = OptimiserConfig(lr=0.1, schedule="constant", warmup_fraction=0, max_grad_norm=1e-12)
    before = model.weight.item()
    metrics = Stepper(model, config, 10, "test").step([squared_error(model, torch.tensor([3.0]), 1)])
    assert metrics["grad_norm"] > 1
    assert model.weight.item() == pytest.approx(before, abs=1e-6)  # a gradient of 1e-12 is nothing beside Adam's eps of 1e-5


def test_schedules() -> None:
    cosine = OptimiserConfig(warmup_fraction=0.1)
    assert schedule_factor(cosine, 0, 20) == 0.5
    assert schedule_factor(cosine, 1, 20) == 1.0
    assert schedule_factor(cosine, 11, 20) == pytest.approx(0.5)
    assert schedule_factor(cosine, 20, 20) == pytest.approx(0.0)
    linear = OptimiserConfig(schedule="linear", warmup_fraction=0)
    assert [schedule_factor(linear, step, 4) for step in range(5)] == [1, 0.75, 0.5, 0.25, 0]
    assert schedule_factor(CONSTANT, 99, 100) == 1


def test_weight_decay_is_for_matrices_only() -> None:
    stepper = Stepper(line(), OptimiserConfig(weight_decay=0.3), 1, "test")
    assert [(group["weight_decay"], len(group["params"])) for group in stepper.optimiser.param_groups] == [(0.3, 1), (0.0, 1)]


def test_learning_a_line() -> None:
    model = line()
    stepper = Stepper(model, CONSTANT, 200, "test")
    losses = [stepper.step([squared_error(model, torch.linspace(-1, 1, 8), 8)])["loss"] for _ in range(200)]
    assert losses[-1] < 1e-3 * losses[0]
    assert math.isclose(model.weight.item(), 2, abs_tol=0.1)


def test_every_step_says_how_fast_it_was(tiny_model_dir: Path) -> None:
    model = load_policy(tiny_model_dir)
    batch = RaggedBatch.from_sequences([[5, 6, 7, 8], [5, 6, 9]], groups=[0, 0])
    loss = LossOutput(-token_logprobs(model, batch, batch.every_position()).logprobs_N.mean())
    stepper = Stepper(model, CONSTANT, 2, "test")
    rows = [stepper.step(iter([loss]))]
    assert rows[0]["tokens_per_s"] == rows[0]["floor_fraction"] == 0, "the forward pass ran before the step"

    def outputs() -> Iterator[LossOutput]:
        yield LossOutput(-token_logprobs(model, batch, batch.every_position()).logprobs_N.mean())

    rows.append(stepper.step(outputs()))
    assert rows[1]["tokens_per_s"] == pytest.approx(5 / rows[1]["step_s"])
    assert 0 < rows[1]["floor_fraction"] < 1


def test_mean_speed_weighs_steps_by_their_time() -> None:
    rows = [
        {"step": 0, "heldout_loss": 1.0},
        {"step_s": 1.0, "tokens_per_s": 10.0, "floor_fraction": 0.5},
        {"step_s": 3.0, "tokens_per_s": 20.0, "floor_fraction": 0.1},
    ]
    assert mean_speed(rows) == pytest.approx({"tokens_per_s": 17.5, "floor_fraction": 0.2})
    assert mean_speed(rows[:1]) == {}
