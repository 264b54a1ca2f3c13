import pytest
from tests.conftest import make_tokenizer

from truing.data.lengths import fit_demonstrations, fit_pairs, fit_prompts
from truing.errors import TruingError
from truing.models.template import completion_tokens, demonstration_tokens, pair_tokens, prompt_tokens
from truing.records import Demonstration, Message, PreferencePair, Prompt


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def conversation(n_exchanges):
    turns = []
    for index in range(n_exchanges):
        turns += [Message(role="user", content=f"what is {index}?"), Message(role="assistant", content=f"it is {index}.")]
    return tuple(turns)


def make_pair(turns):
    return PreferencePair(comparison_id="c", prompt=Prompt.from_messages(turns), chosen="red, i think.", rejected="no.")


SHORT, LONG = conversation(1)[:-1], conversation(8)[:-1]


def test_what_fits_is_left_alone(tokenizer):
    fitted = fit_pairs(tokenizer, [make_pair(SHORT)], 50, "error")
    assert fitted.items[0].chosen == pair_tokens(tokenizer, SHORT, "red, i think.")
    assert fitted.items[0].rejected == pair_tokens(tokenizer, SHORT, "no.")
    assert (fitted.kept, fitted.n_truncated) == ([0], 0)


def test_too_long_is_an_error_that_names_the_row(tokenizer):
    with pytest.raises(TruingError, match=r"row 2 has \d+ tokens, more than the 50"):
        fit_pairs(tokenizer, [make_pair(SHORT), make_pair(LONG)], 50, "error")


def test_dropped_rows_are_counted(tokenizer):
    fitted = fit_pairs(tokenizer, [make_pair(LONG), make_pair(SHORT)], 50, "drop")
    assert (fitted.kept, fitted.dropped(2)) == ([1], 1)
    with pytest.raises(TruingError, match="all 1 rows"):
        fit_pairs(tokenizer, [make_pair(LONG)], 50, "drop")


def test_the_oldest_turns_go_first_and_both_answers_keep_the_same_prompt(tokenizer):
    fitted = fit_pairs(tokenizer, [make_pair(LONG)], 50, "truncate_left")
    chosen, rejected = fitted.items[0]
    opening = [t for t, mine in zip(chosen.tokens, chosen.is_completion, strict=True) if not mine]
    assert opening == rejected.tokens[: len(opening)]
    assert any(opening == prompt_tokens(tokenizer, LONG[start:]) for start in range(2, len(LONG), 2))
    assert chosen.tokens[len(opening) :] == completion_tokens(tokenizer, "red, i think.")
    assert len(chosen.tokens) <= 50
    assert fitted.n_truncated == 1


def test_a_prompt_of_one_long_turn_loses_tokens_from_its_left(tokenizer):
    prompt = Prompt.from_text("what is it? " * 30)
    whole = prompt_tokens(tokenizer, prompt.messages)
    assert fit_prompts(tokenizer, [prompt], 40, "truncate_left").items == [whole[-40:]]


def test_an_answer_is_never_cut(tokenizer):
    pair = make_pair(SHORT).model_copy(update={"chosen": "red " * 60})
    fitted = fit_pairs(tokenizer, [pair, make_pair(SHORT)], 50, "truncate_left")
    assert fitted.kept == [1]


def test_a_system_turn_stays(tokenizer):
    turns = (Message(role="system", content="be brief."), *LONG)
    tokens = fit_prompts(tokenizer, [Prompt.from_messages(turns)], 40, "truncate_left").items[0]
    assert tokenizer.decode(tokens).startswith("<|system|>be brief.<|end|><|user|>")


def test_demonstrations_keep_whole_exchanges(tokenizer):
    turns = conversation(6)
    fitted = fit_demonstrations(tokenizer, [Demonstration(messages=turns)], 50, "truncate_left")
    assert any(fitted.items[0] == demonstration_tokens(tokenizer, turns[start:]) for start in range(2, len(turns), 2))
    with pytest.raises(TruingError, match="all 1 rows"):
        fit_demonstrations(tokenizer, [Demonstration(messages=turns)], 4, "truncate_left")
