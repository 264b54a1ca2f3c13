"""The floor of a step: what torch itself counts, less what nobody needs."""

import copy
import threading
from contextvars import copy_context

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from truing.models.flops import FloorCounter, Kind, Work, peak_rate, trunk_flops
from truing.models.forward import last_token_scores, token_logprobs
from truing.models.load import load_policy, load_scorer
from truing.models.ragged import RaggedBatch

SEQUENCE = [5, 9, 9, 30, 77, 41, 6, 7]
PAIRS = 8 * 9 // 2
WHOLE = Work(len(SEQUENCE), 0)
CPU32 = Kind(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def loaded(tiny_model_dir):
    return load_policy(tiny_model_dir)


@pytest.fixture
def policy(loaded):
    return copy.deepcopy(loaded)


def counted_by_torch(model):
    """Products of weights and tokens in a forward and backward pass through the layers."""
    with FlopCounterMode(display=False) as counter:
        hidden_TD = model.base_model(input_ids=torch.tensor([SEQUENCE])).last_hidden_state
        if hidden_TD.requires_grad:
            hidden_TD.sum().backward()
    return sum(flops for op, flops in counter.get_flop_counts()["Global"].items() if "mm" in str(op) and "bmm" not in str(op))


@pytest.mark.parametrize(
    ("frozen", "tolerance"),
    [
        ((), 0),
        (("",), 0),
        (("mlp",), 0),
        (("layers.1",), 0),
        (("q_proj",), 0),
        (("embed", "norm"), 0.03),
        (("embed", "layers.0"), 0.03),
    ],
)
def test_weights_times_tokens_are_what_torch_counts_whatever_is_frozen(policy, frozen, tolerance):
    """Where the embedding is frozen, the first trainable layer is taken as a chain of its weights in the order of their names."""
    for name, weight in policy.named_parameters():
        weight.requires_grad_(not any(part in name for part in frozen))
    assert trunk_flops(policy, WHOLE, WHOLE) == pytest.approx(counted_by_torch(policy), rel=tolerance)


def test_attention_is_counted_by_pairs_that_see_each_other(policy):
    """2 layers, 4 heads of width 8, a multiplication and an addition: 128 x 2 a pair forward, three times that with gradients."""
    with torch.no_grad():
        assert trunk_flops(policy, Work(0, PAIRS), Work(0, PAIRS)) == 256 * PAIRS
    assert trunk_flops(policy, Work(0, PAIRS), Work(0, PAIRS)) == 3 * 256 * PAIRS
    assert trunk_flops(policy, Work(0, PAIRS), Work(0, 5)) == 3 * 128 * (PAIRS + 5)


def test_a_shared_prompt_and_unselected_places_cost_nothing(policy):
    batch = RaggedBatch.from_sequences([SEQUENCE, [*SEQUENCE[:6], 3]], groups=[0, 0])
    where = batch.positions([[False] * 6 + [True] * 2, [False] * 6 + [True]])
    with FloorCounter() as floor:
        token_logprobs(policy, batch, where)
    assert floor.tokens == 9
    head = 2 * 3 * policy.config.vocab_size * policy.config.hidden_size
    read = Work(2, 6 + 7)  # the shared beginning's last state, and the one after it
    assert floor.flops == {CPU32: trunk_flops(policy, Work(9, PAIRS + 7), read) + 3 * head}


def test_the_last_layer_is_counted_where_it_is_read(policy):
    """Of 2 layers of q 32x32, o 32x32, k and v 32x16, mlp 3 x 32x64: the last one needs keys and values of all tokens."""
    with torch.no_grad():
        saved = trunk_flops(policy, Work(10, 0), Work(10, 0)) - trunk_flops(policy, Work(10, 0), Work(3, 0))
    assert saved == 2 * (10 - 3) * (2 * 32 * 32 + 3 * 32 * 64)


def test_scoring_without_gradients_costs_a_third(tiny_model_dir):
    scorer = load_scorer(tiny_model_dir, seed=0)
    batch = RaggedBatch.from_sequences([SEQUENCE])
    with FloorCounter() as with_gradients, FloorCounter() as both:
        last_token_scores(scorer, batch)
        with torch.no_grad(), FloorCounter() as without:
            last_token_scores(scorer, batch)
    total = with_gradients.flops[CPU32] - without.flops[CPU32]
    assert total == 3 * without.flops[CPU32]
    assert both.flops == with_gradients.flops
    assert with_gradients.seconds() == pytest.approx(4 * without.seconds())


def test_work_of_another_thread_is_counted_where_it_is_given_the_context(policy):
    batch = RaggedBatch.from_sequences([SEQUENCE])
    with FloorCounter() as floor:
        for target in (lambda: token_logprobs(policy, batch, batch.every_position()), lambda: None):
            thread = threading.Thread(target=copy_context().run, args=(target,))
            thread.start()
            thread.join()
        assert floor.tokens == 8
        thread = threading.Thread(target=lambda: token_logprobs(policy, batch, batch.every_position()))
        thread.start()
        thread.join()
    assert floor.tokens == 8


def test_nothing_is_counted_outside(policy):
    with FloorCounter() as floor:
        pass
    batch = RaggedBatch.from_sequences([SEQUENCE])
    token_logprobs(policy, batch, batch.every_position())
    assert floor.tokens == 0
    assert floor.seconds() == 0


def test_the_peak_rate_is_measured_once():
    rate = peak_rate(CPU32, torch.get_num_threads())
    assert rate > 1e9
    assert peak_rate(CPU32, torch.get_num_threads()) == rate
