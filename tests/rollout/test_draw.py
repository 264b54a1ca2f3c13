import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truing.errors import TruingError
from truing.rollout.draw import draw, uniforms
from truing.rollout.sampler import SamplingSettings

LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))


def pick(u, **changes):
    return draw(LOGITS, torch.tensor([u]), SamplingSettings(**{"temperature": 1.0, **changes}))


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


def test_min_p_is_relative_to_the_likeliest():
    assert pick(0.999, min_p=0.7).tokens_R.tolist() == [0]
    assert pick(0.999, min_p=0.5).tokens_R.tolist() == [1]
    assert pick(0.0, min_p=0.5).logprobs_R.exp().item() == pytest.approx(0.625, abs=1e-6)
    assert pick(0.999, min_p=0.3).tokens_R.tolist() == [2]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 700), st.sampled_from([0.3, 0.7, 1.0, 2.0]), st.integers(0, 2**32))
def test_blocks_invert_the_same_distribution_as_one_long_sum(vocabulary, temperature, seed):
    """The token drawn is the one whose stretch of the whole cumulative distribution holds the number, to rounding."""
    logits = 5 * torch.randn(20, vocabulary, generator=torch.Generator().manual_seed(seed))
    numbers = torch.tensor(uniforms(seed, 20))
    drawn = draw(logits, numbers, SamplingSettings(temperature=temperature))
    logprobs = (logits.double() / temperature).log_softmax(-1)
    upto = logprobs.exp().cumsum(-1).gather(1, drawn.tokens_R[:, None])[:, 0]
    expected = logprobs.gather(1, drawn.tokens_R[:, None])[:, 0]
    assert ((numbers >= upto - expected.exp() - 1e-5) & (numbers <= upto + 1e-5)).all()
    torch.testing.assert_close(drawn.logprobs_R.double(), expected, rtol=1e-5, atol=1e-5)


def test_logits_that_are_not_numbers_show_in_the_logprobs():
    logits = torch.full((1, 300), torch.nan)
    assert draw(logits, torch.tensor([0.5]), SamplingSettings(temperature=1.0)).logprobs_R.isnan().all()


def test_greedy_takes_the_likeliest():
    assert pick(0.999, temperature=0.0).tokens_R.tolist() == [0]


def test_impossible_tokens_are_never_drawn():
    logits = torch.full((4096, 50), -torch.inf)
    logits[:, 10:20] = torch.randn(4096, 10, generator=torch.Generator().manual_seed(0))
    numbers = torch.tensor(uniforms(0, 4096))
    numbers[0], numbers[1] = 0.0, 1 - 2**-23
    tokens = draw(logits, numbers, SamplingSettings(temperature=1.0)).tokens_R
    assert ((tokens >= 10) & (tokens < 20)).all()


@pytest.mark.parametrize(
    "change", [{"temperature": 0.0}, {"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1}, {"min_new_tokens": 2}, {"stop": ("x",)}]
)
def test_rl_refuses_what_training_cannot_reproduce(change):
    SamplingSettings().require_exact()
    with pytest.raises(TruingError, match=next(iter(change))):
        SamplingSettings(**change).require_exact()
