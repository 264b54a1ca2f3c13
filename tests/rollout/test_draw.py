import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truing.errors import TruingError
from truing.rollout.draw import Places, draw, uniforms
from truing.rollout.sampler import SamplingSettings

CPU = torch.device("cpu")
LOGITS = torch.log(torch.tensor([0.5, 0.3, 0.2]))
ROWS = 4000


def places(rows=ROWS, step=0):
    return Places.of(range(rows), [step] * rows, CPU)


def shares(**changes):
    """How often each of three tokens is drawn, and the log-probability that each was given."""
    drawn = draw(LOGITS.expand(ROWS, 3), places(), SamplingSettings(**{"temperature": 1.0, **changes}))
    share = torch.bincount(drawn.tokens_R, minlength=3) / ROWS
    return share, [drawn.logprobs_R[drawn.tokens_R == token] for token in range(3)]


@pytest.mark.parametrize(
    ("changes", "probabilities"),
    [
        ({}, [0.5, 0.3, 0.2]),
        ({"temperature": 0.5}, [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38]),
        ({"top_k": 1}, [1, 0, 0]),
        ({"top_k": 2}, [0.625, 0.375, 0]),
        ({"top_p": 0.5}, [1, 0, 0]),
        ({"top_p": 0.6}, [0.625, 0.375, 0]),
        ({"min_p": 0.7}, [1, 0, 0]),
        ({"min_p": 0.5}, [0.625, 0.375, 0]),
        ({"min_p": 0.3}, [0.5, 0.3, 0.2]),
        ({"min_p": 0.5, "top_p": 0.6}, [1, 0, 0]),  # 0.5 of the 0.8 that min-p leaves is enough; of the whole it is not
        ({"top_k": 2, "top_p": 0.6}, [1, 0, 0]),
    ],
)
def test_shares_and_logprobs_are_those_of_the_distribution(changes, probabilities):
    share, logprobs = shares(**changes)
    for token, probability in enumerate(probabilities):
        assert abs(share[token] - probability) <= 4 * (probability * (1 - probability) / ROWS) ** 0.5
        if probability:
            expected = torch.tensor(probability).log().expand_as(logprobs[token])
            torch.testing.assert_close(logprobs[token], expected, rtol=1e-5, atol=1e-6)


def test_tokens_of_all_blocks_are_drawn_by_their_probability():
    """A vocabulary of several blocks, the last one short; a chi-square statistic within five standard deviations."""
    logits = torch.randn(300, generator=torch.Generator().manual_seed(0))
    rows = 60_000
    counts = torch.zeros(300)
    for step in range(6):
        drawn = draw(logits.expand(rows // 6, 300), places(rows // 6, step), SamplingSettings(temperature=1.0))
        counts += torch.bincount(drawn.tokens_R, minlength=300)
    expected = logits.softmax(-1) * rows
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 299) < 5 * (2 * 299) ** 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 700), st.sampled_from([0.3, 0.7, 1.0, 2.0]), st.integers(0, 2**32))
def test_logprobs_are_of_the_whole_distribution(vocabulary, temperature, seed):
    logits = 5 * torch.randn(20, vocabulary, generator=torch.Generator().manual_seed(seed))
    drawn = draw(logits, places(20), SamplingSettings(temperature=temperature))
    expected = (logits.double() / temperature).log_softmax(-1).gather(1, drawn.tokens_R[:, None])[:, 0]
    torch.testing.assert_close(drawn.logprobs_R.double(), expected, rtol=1e-5, atol=1e-5)


def test_rounding_of_the_logits_hardly_ever_changes_what_is_drawn():
    """A flat distribution over many tokens, the worst case: of 20,000 draws about one in 10^5 may differ."""
    generator = torch.Generator().manual_seed(0)
    changed = 0
    for step in range(20):
        logits = torch.randn(1000, 4000, generator=generator)
        noise = 1e-6 * torch.randn(1000, 4000, generator=generator)
        one, other = (draw(x, places(1000, step), SamplingSettings(temperature=1.0)).tokens_R for x in (logits, logits + noise))
        changed += int((one != other).sum())
    assert changed <= 2


def test_numbers_are_uniform_and_belong_to_seed_and_step():
    numbers = uniforms(places(), 64)
    assert numbers.min() > 0
    assert numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 5 / (12 * numbers.numel()) ** 0.5
    assert numbers.unique().numel() > 0.98 * numbers.numel()
    assert torch.equal(uniforms(Places.of([7], [0], CPU), 64)[0], numbers[7])
    assert not torch.equal(uniforms(Places.of([7], [1], CPU), 64)[0], numbers[7])


def test_numbers_are_those_of_splitmix64():
    """The first outputs from seed 1234567, as its authors' reference code gives them, cut to 33 bits."""
    reference = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    expected = torch.tensor([((x >> 31) + 0.5) * 2.0**-33 for x in reference])
    torch.testing.assert_close(uniforms(Places.of([1234567], [0], CPU), 3)[0], expected, rtol=1e-6, atol=0)


def test_impossible_tokens_are_never_drawn():
    logits = torch.full((ROWS, 300), -torch.inf)
    logits[:, 120:140] = torch.randn(ROWS, 20, generator=torch.Generator().manual_seed(0))
    tokens = draw(logits, places(), SamplingSettings(temperature=1.0)).tokens_R
    assert ((tokens >= 120) & (tokens < 140)).all()


def test_logits_that_are_not_numbers_show_in_the_logprobs():
    logits = torch.full((1, 384), torch.nan)
    assert draw(logits, places(1), SamplingSettings(temperature=1.0)).logprobs_R.isnan().all()


def test_greedy_takes_the_likeliest():
    drawn = draw(LOGITS[None], places(1), SamplingSettings(temperature=0.0))
    assert drawn.tokens_R.tolist() == [0]
    assert drawn.logprobs_R.exp().item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1}, {"min_new_tokens": 2}, {"stop": ("x",)}],
)
def test_rl_refuses_what_training_cannot_reproduce(change):
    SamplingSettings().require_exact()
    with pytest.raises(TruingError, match=next(iter(change))):
        SamplingSettings(**change).require_exact()
