import statistics

from hypothesis import given
from hypothesis import strategies as st

from truing.data.batches import token_budget_batches

LENGTHS = st.lists(st.integers(1, 120), max_size=200)


@given(LENGTHS, st.integers(1, 300), st.integers(0, 9))
def test_every_item_once_and_no_batch_over_its_budget(lengths, budget, seed):
    batches = token_budget_batches(lengths, budget, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= budget


def test_the_order_is_that_of_the_seed():
    lengths = [5] * 300
    assert token_budget_batches(lengths, 50, 1) == token_budget_batches(lengths, 50, 1)
    assert token_budget_batches(lengths, 50, 1) != token_budget_batches(lengths, 50, 2)


def test_like_lengths_stand_together_and_batches_are_full():
    lengths = [10 + (i * 37) % 90 for i in range(2000)]
    batches = token_budget_batches(lengths, 500, 0)
    assert sum(lengths) / (len(batches) * 500) > 0.85
    spread = statistics.mean(max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches)
    assert spread < 15
