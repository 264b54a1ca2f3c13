import math

import pytest
import torch

from truing.errors import TruingError
from truing.models.head import TokenScores
from truing.train.behaviour import Mismatch, TrainerView, skips_scoring
from truing.train.config import RLConfig


def view(logprobs: list[float]) -> TrainerView:
    """The trainer was asked about all tokens but the last."""
    empty = TrainerView.empty(len(logprobs) + 1, torch.device("cpu"))
    known_n = torch.arange(len(logprobs))
    empty.tell(known_n, TokenScores(torch.tensor(logprobs), torch.full((len(logprobs),), 2.0)))
    return empty


def test_mismatch_is_measured_where_the_trainer_was_asked() -> None:
    found = Mismatch.of(view([-1.0, -2.0 + math.log(3)]), torch.tensor([-1.0, -2.0, 50.0]))
    assert found.mismatch_nats == pytest.approx(math.log(3) / 2)
    assert found.mismatch_max_nats == pytest.approx(math.log(3))
    assert found.mismatch_ess == pytest.approx(0.8)
    assert view([-1.0, -1.0]).entropy_nats == 2


def test_exact_is_a_matter_of_the_worst_token() -> None:
    assert Mismatch(1e-9, 1e-5, 1.0).is_exact(RLConfig())
    assert not Mismatch(1e-9, 1e-3, 1.0).is_exact(RLConfig())
    assert not Mismatch(math.nan, math.nan, math.nan).is_exact(RLConfig())


def test_too_far_is_refused_unless_corrected_for_and_nan_always() -> None:
    far = Mismatch(0.1, 1.0, 0.5)
    with pytest.raises(TruingError, match=r"differ from the trainer's by 0\.1"):
        far.refuse(RLConfig())
    far.refuse(RLConfig(max_mismatch_nats=0.2))
    far.refuse(RLConfig(importance_cap=2.0))
    with pytest.raises(TruingError, match="nan"):
        Mismatch(math.nan, math.nan, math.nan).refuse(RLConfig(importance_cap=2.0))


def test_who_scores_the_tokens() -> None:
    expected = {"auto": (False, True), "sampler": (True, True), "trainer": (False, False)}
    for choice, (at_first, once_exact) in expected.items():
        config = RLConfig.model_validate({"behaviour_logprobs": choice})
        assert skips_scoring(config, was_exact=False) is at_first
        assert skips_scoring(config, was_exact=True) is once_exact


def test_a_correction_that_could_not_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="importance_cap corrects the sampler"):
        RLConfig(behaviour_logprobs="sampler", importance_cap=2.0)
