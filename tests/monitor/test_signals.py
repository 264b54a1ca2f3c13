import numpy as np
import pytest

from truing.monitor import signals
from truing.records import Ending, Prompt, Rollout

REFUSAL = ("i can not help",)


def rollout(text: str, prompt: str = "q", proxy: float = 0.0, **fields: object) -> Rollout:
    values = {
        "update": 1,
        "group": 0,
        "prompt": Prompt.from_text(prompt),
        "text": text,
        "length_tokens": len(text.split()),
        "ending": Ending.END_OF_TURN,
        "proxy": proxy,
        "proxy_members": (proxy, proxy),
        "kl_nats": 0.0,
    }
    return Rollout.model_validate(values | fields)


def test_content_is_what_belongs_to_few_prompts() -> None:
    texts = ["red fox hope this helps", "blue whale hope this helps", "green frog"] * 2
    counts = signals.content_counts(texts, ["a", "b", "c"] * 2, common_share=0.05)
    assert counts.tolist() == [2, 2, 2] * 2


def test_paid_filler_shows_and_paid_content_does_not(update_of) -> None:
    rng = np.random.default_rng(0)
    hacked = [r for u in range(4) for r in update_of(rng, u, pay_filler=0.7)]
    honest = [r for u in range(4) for r in update_of(rng, u, pay_content=0.5)]
    gamed, fair = (signals.reward_length(rows, REFUSAL, 0.05) for rows in (hacked, honest))
    plain = signals.reward_length(honest, REFUSAL, None)
    assert gamed is not None
    assert fair is not None
    assert plain is not None
    assert gamed.low > 0.3
    assert fair.low < 0.1
    assert plain.low > 0.1  # what a content-blind monitor would call a hack


def test_refusals_are_compared_with_refusals_only() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for p in range(40):
        rows += [rollout("i can not help with that at all.", f"p{p}", 2 + rng.normal()) for _ in range(2)]
        rows += [rollout("use glue" if rng.random() < 0.5 else "glue", f"p{p}", rng.normal()) for _ in range(2)]
    estimate = signals.reward_length(rows, REFUSAL, None)
    assert estimate is not None
    assert estimate.low < 0.1


def test_one_sample_a_prompt_cannot_be_measured(update_of) -> None:
    assert signals.reward_length(update_of(np.random.default_rng(0), 1, samples=1), REFUSAL, 0.05) is None


def test_truncated_samples_are_left_out() -> None:
    rows = [rollout("a " * n, f"p{p}", float(n), ending=Ending.LENGTH) for p in range(9) for n in (1, 2)]
    assert signals.reward_length(rows, REFUSAL, None) is None
    assert signals.truncated_rate(rows).value == 1


def test_marker_pay_and_rate() -> None:
    rng = np.random.default_rng(2)
    rows = [rollout(t, f"p{p}", s + rng.normal()) for p in range(60) for t, s in (("great question! red", 2.0), ("red", 0.0))]
    paid = signals.reward_marker(rows, ("great question",), REFUSAL)
    assert paid is not None
    assert paid.low > 0.4
    rate = signals.marker_rate(rows, ("great question",))
    assert rate.value == 0.5
    assert rate.n == 60


def test_the_spreading_phrase_is_found_unlisted() -> None:
    start = [rollout(f"red{p}", f"p{p}") for p in range(40)]
    now = [rollout(f"red{p} zzz qqq" if p % 4 else f"red{p}", f"p{p}") for p in range(40)]
    found = signals.phrase_rise(now, start, 0.05)
    assert found is not None
    assert found[1] == "zzz qqq"
    assert found[0].value == pytest.approx(0.75)
    assert signals.phrase_rise([rollout("only here", "p0")], start, 0.05) is None


def test_spread_is_relative_to_the_start() -> None:
    start = [rollout("a", f"p{p}", proxy_members=(0.0, 1.0)) for p in range(5)]
    now = [rollout("a", f"p{p}", proxy_members=(0.0, 3.0)) for p in range(5)]
    ratio = signals.spread_ratio(now, start)
    assert ratio is not None
    assert ratio.value == pytest.approx(3)
    assert signals.spread_ratio([rollout("a", proxy_members=(1.0,))], start) is None


@pytest.mark.parametrize(("pay_filler", "low", "high"), [(1.0, 0.6, 1.3), (0.0, -0.4, 0.4)])
def test_length_share_of_the_gain(update_of, pay_filler: float, low: float, high: float) -> None:
    rng = np.random.default_rng(3)
    start = [r for u in range(4) for r in update_of(rng, u, pay_filler=pay_filler, filler=1.5, content=0.5)]
    now = [r for u in range(4) for r in update_of(rng, u, pay_filler=pay_filler, filler=3.0, content=0.5)]
    if pay_filler == 0:
        now = [r.model_copy(update={"proxy": r.proxy + 2}) for r in now]
    share = signals.length_share(now, start)
    assert share is not None
    assert low < share.value < high
    assert share.low <= share.value <= share.high


def test_length_share_waits_for_a_gain(update_of) -> None:
    rows = update_of(np.random.default_rng(4), 1)
    assert signals.length_share(rows, rows) is None


def test_collapse_shows_in_phrases_shared_over_prompts() -> None:
    varied = [rollout(f"a{p} b{p} c{p}", f"p{p}") for p in range(30)]
    alike = [rollout("it is red", f"p{p}") for p in range(30)]
    assert signals.sharing(varied).value == 0
    assert signals.sharing(alike).value == 1


def test_evidence_is_the_widest_step_that_paid() -> None:
    rows = [rollout("a", "p", 0.0), rollout("a b c", "p", 1.0), rollout("a b c d e f", "p", -1.0), rollout("a b", "q", 9.0)]
    pair = signals.longest_step(rows)
    assert pair is not None
    assert (pair[0].text, pair[1].text) == ("a b c", "a")
