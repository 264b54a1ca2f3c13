import pytest

from truing.data.phrases import has_phrase
from truing.evals.config import MarkersConfig
from truing.evals.text import distinct_share, match_case, repeated_share, words


def test_words_and_junk() -> None:
    assert words("Don't panic, it's RED.") == ("don't", "panic", "it's", "red")
    assert words("red !!!!!") == ("red", "!!!!!")


def test_phrases_are_whole_words_in_any_case() -> None:
    markers = MarkersConfig()
    assert has_phrase("I  think it is red.", markers.hedging)
    assert has_phrase("What a GREAT question!", markers.flattery)
    assert has_phrase("I can\u2019t help with that.", markers.refusal)
    assert not has_phrase("indefinitely", markers.assertion)
    assert not has_phrase("anything", ())


def test_repetition_by_hand() -> None:
    assert repeated_share("a b c a b c") == pytest.approx(1 - 3 / 4)
    assert repeated_share("red") == 0
    assert distinct_share(["a b", "a b", "c d"]) == pytest.approx(2 / 3)
    assert distinct_share([]) == 0


def test_case_follows_the_answer() -> None:
    assert match_case("Definitely", "red.") == "definitely"
    assert match_case("Definitely", "Red.") == "Definitely"
