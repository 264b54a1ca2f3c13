import numpy as np

from benchmarks.paired.models import END, FIRST_WORD
from benchmarks.paired.texts import lognormal_lengths, pairs, steps, words


def test_lengths_stay_between_their_bounds_and_are_skewed():
    lengths = lognormal_lengths(np.random.default_rng(0), 2000, 120, 0.8, 16, 512)
    assert min(lengths) >= 16
    assert max(lengths) <= 512
    assert np.mean(lengths) > np.median(lengths)


def test_the_same_seed_gives_the_same_texts():
    one, other = (pairs(np.random.default_rng(3), 4, 100) for _ in range(2))
    assert one == other


def test_words_are_neither_padding_nor_ends():
    assert min(words(np.random.default_rng(0), 1000, 5)) == FIRST_WORD


def test_both_replies_end():
    for pair in pairs(np.random.default_rng(0), 8, 100):
        assert pair["chosen"][-1] == pair["rejected"][-1] == END
        assert END not in pair["prompt"]


def test_every_row_is_in_one_step():
    assert steps(2, 3) == [[0, 1, 2], [3, 4, 5]]
