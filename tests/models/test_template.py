from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import CHAT_TEMPLATE, make_tokenizer

from truing.errors import TruingError
from truing.models.template import (
    completion_text,
    completion_tokens,
    demonstration_tokens,
    end_token_ids,
    pair_tokens,
    prompt_tokens,
    require_template,
)
from truing.records import Message

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
NEWLINE_TEMPLATE = CHAT_TEMPLATE.replace("'<|end|>' }}", "'<|end|>\\n' }}")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def user(text):
    return Message(role="user", content=text)


def assistant(text):
    return Message(role="assistant", content=text)


def test_the_tiny_template_passes(tokenizer):
    require_template(tokenizer)


def test_every_assistant_turn_with_its_end_token_is_trained_on(tokenizer):
    turns = [user("is it red?"), assistant("no."), user("why?"), assistant("it is brown.")]
    tokens, is_assistant = demonstration_tokens(tokenizer, turns)
    assert tokenizer.decode([t for t, flag in zip(tokens, is_assistant, strict=True) if flag]) == "no.<|end|>it is brown.<|end|>"
    assert not is_assistant[0]
    assert tokens[-1] == tokenizer.eos_token_id
    assert is_assistant[-1]


def test_what_the_template_writes_after_the_end_token_is_left_out():
    tokenizer = make_tokenizer(chat_template=NEWLINE_TEMPLATE)
    tokens, is_assistant = demonstration_tokens(tokenizer, [user("a"), assistant("b"), user("c"), assistant("d")])
    assert tokenizer.decode([t for t, flag in zip(tokens, is_assistant, strict=True) if flag]) == "b<|end|>d<|end|>"
    assert tokens[-1] == tokenizer.eos_token_id
    assert completion_tokens(tokenizer, "d")[-1] == tokenizer.eos_token_id


@settings(max_examples=40, deadline=None)
@given(TEXT, TEXT)
def test_a_pair_is_its_prompt_and_then_its_completion(tokenizer, question, answer):
    prompt = [user(question)]
    tokens, is_completion = pair_tokens(tokenizer, prompt, answer)
    opening = prompt_tokens(tokenizer, prompt)
    assert tokens == opening + completion_tokens(tokenizer, answer)
    assert is_completion == [False] * len(opening) + [True] * (len(tokens) - len(opening))
    assert completion_text(tokenizer, tokens[len(opening) :]) == answer.strip()


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, min_size=2, max_size=6))
def test_the_prompt_of_a_turn_is_a_prefix_of_the_whole_conversation(tokenizer, texts):
    turns = [user(t) if i % 2 == 0 else assistant(t) for i, t in enumerate(texts)]
    turns = turns if len(turns) % 2 == 0 else turns[:-1]
    tokens, is_assistant = demonstration_tokens(tokenizer, turns)
    opening = prompt_tokens(tokenizer, turns[:-1])
    assert tokens[: len(opening)] == opening
    assert all(is_assistant[len(opening) :])


def test_completion_text_keeps_special_tokens_inside(tokenizer):
    tokens = [*completion_tokens(tokenizer, "red.")[:-1], tokenizer.convert_tokens_to_ids("<|user|>"), tokenizer.eos_token_id]
    assert completion_text(tokenizer, tokens) == "red.<|user|>"


def test_every_eos_id_counts(tokenizer):
    assert end_token_ids(tokenizer, SimpleNamespace(eos_token_id=[7, 8]), None) == {tokenizer.eos_token_id, 7, 8}


def test_no_chat_template():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(TruingError, match="no chat template"):
        require_template(tokenizer)
    with pytest.raises(TruingError, match="no chat template"):
        prompt_tokens(tokenizer, [user("a")])


def test_no_eos_token():
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(TruingError, match="no eos token"):
        require_template(tokenizer)


def test_a_turn_closed_with_plain_text():
    tokenizer = make_tokenizer(chat_template=CHAT_TEMPLATE.replace("<|end|>", "\\n"))
    with pytest.raises(TruingError, match="cannot learn to stop"):
        require_template(tokenizer)


def test_a_template_that_is_not_prefix_preserving():
    merging = "{% for m in messages %}{{ m['role'] + ' i' + m['content'] + '<|end|>' }}{% endfor %}"
    tokenizer = make_tokenizer(chat_template=merging + "{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}")
    with pytest.raises(TruingError, match="prefix-preserving"):
        require_template(tokenizer)


def test_a_template_that_rewrites_earlier_turns(tokenizer):
    template = (
        "{% for m in messages %}{% if m['role'] == 'user' or loop.last %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    )
    forgetful = make_tokenizer(chat_template=template)
    with pytest.raises(TruingError, match="prefix-preserving"):
        demonstration_tokens(forgetful, [user("a"), assistant("b"), user("c"), assistant("d")])


def test_a_template_that_refuses_a_role():
    strict = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}{% endfor %}"
    )
    tokenizer = make_tokenizer(chat_template=strict + CHAT_TEMPLATE)
    with pytest.raises(TruingError, match="no system turns"):
        prompt_tokens(tokenizer, [Message(role="system", content="s"), user("a")])


def test_a_template_that_leaves_a_turn_open():
    sometimes = CHAT_TEMPLATE.replace("+ '<|end|>' }}", "}}{% if m['content'] != 'b' %}{{ '<|end|>' }}{% endif %}")
    with pytest.raises(TruingError, match="leaves an assistant's turn open"):
        demonstration_tokens(make_tokenizer(chat_template=sometimes), [user("a"), assistant("b"), user("c"), assistant("d")])


def test_a_prompt_given_twice_may_be_changed_by_who_got_it(tokenizer):
    prompt_tokens(tokenizer, [user("a")]).append(0)
    assert prompt_tokens(tokenizer, [user("a")])[-1] != 0
