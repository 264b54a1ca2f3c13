import pytest
from hypothesis import given
from hypothesis import strategies as st

from truing.data.splits import group_of, split_by
from truing.errors import TruingError
from truing.records import Prompt


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60).filter(lambda xs: len(set(xs)) > 1), st.integers(0, 99))
def test_no_key_is_on_both_sides_and_nothing_is_lost(keys, seed):
    items = list(enumerate(keys))
    split = split_by(items, lambda item: item[1], 0.3, seed)
    assert not {k for _, k in split.train} & {k for _, k in split.heldout}
    assert sorted(split.train + split.heldout) == items
    assert split.train
    assert split.heldout


def test_the_split_does_not_depend_on_order_and_does_on_the_seed():
    items = list(range(200))
    first, shuffled = (split_by(order, lambda x: x, 0.2, 1) for order in (items, items[::-1]))
    assert sorted(first.heldout) == sorted(shuffled.heldout)
    assert first.heldout != split_by(items, lambda x: x, 0.2, 2).heldout
    assert len(first.heldout) == 40


def test_one_key_cannot_be_split():
    with pytest.raises(TruingError, match="nothing can be held out"):
        split_by([1, 1], lambda x: x, 0.5, 0)


def test_a_prompt_belongs_to_its_group():
    assert group_of(Prompt.from_text("a", meta={"group": "g"})) == group_of(Prompt.from_text("b", meta={"group": "g"}))
    assert group_of(Prompt.from_text("a")) != group_of(Prompt.from_text("b"))
