import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import make_tokenizer

from truing.models.template import completion_text
from truing.rollout.text import AnswerText, StopStrings, TokenText

TOKENIZER = make_tokenizer()
WORDS = st.text(alphabet="ab \n\u00e9\u6587\U0001f98a.", max_size=30)


@given(WORDS)
def test_pieces_of_text_are_the_whole(text):
    """Characters of several tokens are shown when they are whole."""
    growing = TokenText(TOKENIZER)
    pieces = [growing.add(token) for token in TOKENIZER(text)["input_ids"]]
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


@given(st.lists(st.integers(0, 299), max_size=30))
def test_pieces_of_an_answer_are_its_text(tokens):
    """Whatever is drawn, end tokens in the middle and broken characters included."""
    ends = {TOKENIZER.eos_token_id}
    tokens = [token for token in tokens if token not in ends] + [TOKENIZER.eos_token_id]
    growing = AnswerText(TOKENIZER)
    pieces = [growing.add(token) for token in tokens] + [growing.finish()]
    assert "".join(pieces) == completion_text(TOKENIZER, tokens)


@given(WORDS, st.lists(st.text(alphabet="ab \u00e9", min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_stop_string_is_found_at_the_token_that_completes_it(text, strings):
    watcher = StopStrings(TOKENIZER, strings)
    tokens = TOKENIZER(text)["input_ids"]
    found = next((place for place, token in enumerate(tokens) if watcher.found(token)), None)
    whole = [any(s in TOKENIZER.decode(tokens[: place + 1]) for s in strings) for place in range(len(tokens))]
    assert found == (whole.index(True) if any(whole) else None)


@pytest.mark.parametrize("text", ["the fox", "\u6587\u6587 the"])
def test_only_the_end_is_decoded_again(text, monkeypatch):
    tokens = TOKENIZER(text * 20)["input_ids"]
    lengths = []
    decode = TOKENIZER.decode
    monkeypatch.setattr(
        type(TOKENIZER), "decode", lambda self, ids, **kwargs: lengths.append(len(ids)) or decode(ids, **kwargs), raising=True
    )
    growing = TokenText(TOKENIZER)
    for token in tokens:
        growing.add(token)
    assert max(lengths) <= 8 < len(tokens)
