"""The last layer run only where it is read: the same numbers and gradients as run everywhere."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import make_model, make_tokenizer

from truing.models.config import LoadSettings, LoRASettings
from truing.models.forward import hidden_states, last_token_scores, token_logprobs
from truing.models.load import load_policy, load_scorer
from truing.models.lora import add_adapters
from truing.models.ragged import RaggedBatch

PROMPT = [9, 8, 7, 30, 31, 32, 33]
SEQUENCES = [[*PROMPT, 40, 41, 42], [*PROMPT, 50], [60, 61, 62, 63, 64], [70, 71, 72]]
GROUPS = [0, 0, 1, 2]
FLAGS = [
    [False] * 7 + [True] * 3,
    [False] * 7 + [True],
    [False, True, False, False, True],  # two turns
    [False] * 3,  # nothing is trained on
]


def batch_and_places(groups=GROUPS):
    batch = RaggedBatch.from_sequences(SEQUENCES, groups=groups)
    return batch, batch.positions(FLAGS)


def loss_and_gradients(model):
    model = copy.deepcopy(model)  # hooks must survive a copy, and act on the copy
    batch, where = batch_and_places()
    logprobs_N = token_logprobs(model, batch, where).logprobs_N
    logprobs_N.square().sum().backward()
    return logprobs_N.detach(), {name: w.grad for name, w in model.named_parameters() if w.grad is not None}


def assert_same(on, off):
    torch.testing.assert_close(on[0], off[0], rtol=1e-5, atol=1e-5)
    assert on[1].keys() == off[1].keys()
    for name, gradient in on[1].items():
        size = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(gradient, off[1][name], rtol=0, atol=1e-5 * size, msg=name)


def test_states_before_trained_tokens_are_read_once_each():
    batch, where = batch_and_places()
    assert where.reading.rows_U.tolist() == [6, 7, 8, 11, 14]  # the prompt's last state is read for both answers
    assert batch.last_tokens().rows_U.tolist() == [9, 10, 15, 18]


def test_queries_begin_at_the_first_state_read_in_each_segment():
    _, where = batch_and_places()
    layout = where.reading.layout
    assert [segment.unread for segment in layout.segments] == [6, 0, 0, 0, 2]
    assert where.reading.attention_pairs == 7 + 8 + 9 + 1 + 4
    assert layout.attention_pairs == 7 + (8 + 9 + 10) + 8 + 15 + 3


@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}], ids=["plain", "checkpointed"])
def test_on_equals_off(tiny_model_dir, changes):
    on, off = (load_policy(tiny_model_dir, LoadSettings(skip_unread=skip, **changes)).train() for skip in (True, False))
    assert_same(loss_and_gradients(on), loss_and_gradients(off))


def test_on_equals_off_under_adapters(tiny_model_dir):
    on, off = (load_policy(tiny_model_dir, LoadSettings(skip_unread=skip)) for skip in (True, False))
    for model in (on, off):
        add_adapters(model, LoRASettings(rank=2), seed=0)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if ".lora_B." in name:
                    weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(len(name)))
    assert_same(loss_and_gradients(on), loss_and_gradients(off))


def test_on_equals_off_in_a_limited_window(tmp_path):
    from transformers import MistralConfig, MistralForCausalLM

    tokenizer = make_tokenizer()
    made = make_model(tokenizer)
    kept = {
        name: value for name, value in made.config.to_dict().items() if name in MistralConfig().to_dict() and name != "model_type"
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MistralForCausalLM(MistralConfig(**{**kept, "architectures": None, "sliding_window": 4})).save_pretrained(tmp_path)
    on, off = (load_policy(tmp_path, LoadSettings(skip_unread=skip)) for skip in (True, False))
    assert on.config.sliding_window == 4
    assert_same(loss_and_gradients(on), loss_and_gradients(off))


def test_the_work_is_spared(tiny_model_dir):
    """What the last layer's MLP is given: the rows read, not all tokens."""
    rows = {}
    for skip in (True, False):
        model = load_policy(tiny_model_dir, LoadSettings(skip_unread=skip))
        model.base_model.layers[-1].mlp.gate_proj.register_forward_pre_hook(
            lambda _, args, skip=skip: rows.__setitem__(skip, args[0].shape[1])
        )
        token_logprobs(model, *batch_and_places())
    assert rows == {True: 5, False: 19}


def test_without_a_word_on_what_is_read_every_state_is_right(tiny_model_dir):
    on, off = (load_policy(tiny_model_dir, LoadSettings(skip_unread=skip)) for skip in (True, False))
    batch, where = batch_and_places()
    with torch.no_grad():
        token_logprobs(on, batch, where)
        torch.testing.assert_close(hidden_states(on, batch), hidden_states(off, batch), rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(5, 250), min_size=1, max_size=30), min_size=1, max_size=6), st.booleans())
def test_scores_do_not_depend_on_it(tiny_model_dir, sequences, grouped):
    on, off = (load_scorer(tiny_model_dir, LoadSettings(skip_unread=skip), seed=1) for skip in (True, False))
    batch = RaggedBatch.from_sequences(sequences, groups=[0] * len(sequences) if grouped else None)
    with torch.no_grad():
        torch.testing.assert_close(last_token_scores(on, batch), last_token_scores(off, batch), rtol=1e-5, atol=1e-5)
