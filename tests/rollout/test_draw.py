import pytest
import torch

from truing.errors import TruingError
from truing.rollout.draw import draw, uniforms
from truing.rollout.sampler import SamplingSettings

LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))


def pick(u, **settings):
    return draw(LOGITS, torch.tensor([u]), SamplingSettings(**{"temperature": 1.0, **settings}))


@pytest.mark.parametrize(("u", "token"), [(0.0, 0), (0.49, 0), (0.51, 1), (0.79, 1), (0.81, 2), (1 - 2**-23, 2)])
def test_the_cumulative_distribution_is_inverted(u, token):
    drawn = pick(u)
    assert drawn.tokens_R.tolist() == [token]
    assert drawn.logprobs_R.item() == pytest.approx(LOGITS[0, token].item(), abs=1e-6)


def test_temperature_is_in_the_logprobs():
    drawn = pick(0.0, temperature=0.5)
    assert drawn.logprobs_R.exp().item() == pytest.approx(0.25 / 0.38, abs=1e-6)


def test_top_k_and_top_p_cut_the_tail():
    assert pick(0.999, top_k=1).tokens_R.tolist() == [0]
    assert pick(0.999, top_k=2).tokens_R.tolist() == [1]
    assert pick(0.999, top_p=0.5).tokens_R.tolist() == [0]
    assert pick(0.999, top_p=0.6).tokens_R.tolist() == [1]
    assert pick(0.0, top_p=0.6).logprobs_R.exp().item() == pytest.approx(0.625, abs=1e-6)


def test_greedy_takes_the_likeliest():
    assert pick(0.999, temperature=0.0).tokens_R.tolist() == [0]


def test_impossible_tokens_are_never_drawn():
    logits = torch.full((4096, 50), -torch.inf)
    logits[:, 10:20] = torch.randn(4096, 10, generator=torch.Generator().manual_seed(0))
    numbers = uniforms(0, 4096, 1)[:, 0]
    numbers[0], numbers[1] = 0.0, 1 - 2**-23
    tokens = draw(logits, numbers, SamplingSettings(temperature=1.0)).tokens_R
    assert ((tokens >= 10) & (tokens < 20)).all()


@pytest.mark.parametrize("change", [{"temperature": 0.0}, {"top_p": 0.9}, {"top_k": 5}, {"stop": ("x",)}])
def test_rl_refuses_what_training_cannot_reproduce(change):
    SamplingSettings().require_exact()
    with pytest.raises(TruingError, match=next(iter(change))):
        SamplingSettings(**change).require_exact()
