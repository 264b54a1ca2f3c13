import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import make_model, make_tokenizer

from truing.errors import TruingError
from truing.models.config import LoadSettings
from truing.models.forward import hidden_states, last_token_scores, token_logprobs, token_values
from truing.models.load import load_policy, load_scorer
from truing.models.ragged import RaggedBatch, shared_length

SEQUENCES = st.lists(st.lists(st.integers(5, 250), min_size=2, max_size=40), min_size=1, max_size=7)


@pytest.fixture(scope="module")
def policy(tiny_model_dir):
    return load_policy(tiny_model_dir)


@pytest.fixture(scope="module")
def scorer(tiny_model_dir):
    return load_scorer(tiny_model_dir, seed=1)


def test_positions_starts_and_ends():
    batch = RaggedBatch.from_sequences([[7, 8, 9], [5], [6, 6]])
    assert batch.position_ids_T.tolist() == [0, 1, 2, 0, 0, 1]
    assert batch.starts_B.tolist() == [0, 3, 4]
    assert batch.ends_B.tolist() == [2, 3, 5]
    assert batch.n_tokens == 6


def test_an_empty_sequence_is_refused():
    with pytest.raises(TruingError, match="empty"):
        RaggedBatch.from_sequences([[1, 2], []])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=40))
def test_layout_is_a_bijection_on_tokens_and_wastes_at_most_a_quarter(lengths):
    layout = RaggedBatch.from_sequences([[1] * n for n in lengths]).layout
    slots = layout.token_of_query_S
    assert slots[layout.query_of_token_A].tolist() == list(range(sum(lengths)))
    assert len(slots) <= sum(lengths) / 0.75 + 1


@settings(max_examples=25, deadline=None)
@given(SEQUENCES)
def test_packed_equals_separate_for_logprobs_values_and_scores(policy, scorer, sequences):
    batch = RaggedBatch.from_sequences(sequences)
    singles = [RaggedBatch.from_sequences([s]) for s in sequences]
    with torch.no_grad():
        for model, read in (
            (policy, lambda m, b: token_logprobs(m, b, b.every_position(), temperature=0.7).logprobs_N),
            (policy, lambda m, b: token_logprobs(m, b, b.every_position(), entropy=True).entropy_N),
            (scorer, lambda m, b: token_values(m, b, b.every_position())),
            (scorer, last_token_scores),
        ):
            torch.testing.assert_close(read(model, batch), torch.cat([read(model, b) for b in singles]), rtol=0, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(SEQUENCES)
def test_packed_equals_separate_for_gradients(policy, sequences):
    def gradients(batches):
        model = copy.deepcopy(policy)
        for batch in batches:
            (-token_logprobs(model, batch, batch.every_position()).logprobs_N.sum()).backward()
        return {name: p.grad for name, p in model.named_parameters()}

    packed = gradients([RaggedBatch.from_sequences(sequences)])
    separate = gradients([RaggedBatch.from_sequences([s]) for s in sequences])
    for name, grad in packed.items():
        scale = max(1.0, float(separate[name].abs().max()))
        torch.testing.assert_close(grad / scale, separate[name] / scale, rtol=0, atol=1e-5)


def test_a_score_does_not_depend_on_what_else_is_in_the_batch(scorer):
    mine = [9, 8, 7, 6, 5]
    with torch.no_grad():
        alone = last_token_scores(scorer, RaggedBatch.from_sequences([mine]))[0]
        beside_short = last_token_scores(scorer, RaggedBatch.from_sequences([[5, 6], mine]))[1]
        beside_long = last_token_scores(scorer, RaggedBatch.from_sequences([[5] * 90, mine, [6] * 70]))[1]
    torch.testing.assert_close(torch.stack([beside_short, beside_long]), alone.expand(2), rtol=0, atol=1e-5)


def test_the_forward_pass_is_that_of_transformers_own_attention(policy, tiny_model_dir):
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tiny_model_dir, attn_implementation="eager")
    tokens = [5, 99, 42, 17, 200, 31]
    with torch.no_grad():
        expected = torch.log_softmax(plain(torch.tensor([tokens])).logits[0, :-1] / 0.5, -1)
        expected = expected.gather(1, torch.tensor(tokens[1:])[:, None])[:, 0]
        batch = RaggedBatch.from_sequences([tokens])
        got = token_logprobs(policy, batch, batch.every_position(), temperature=0.5).logprobs_N
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_padding_on_the_left_or_right_changes_nothing(policy, tiny_model_dir):
    """The ragged path against transformers' padded batches, both ways round."""
    sequences = [[5, 99, 42], [17, 200, 31, 8, 61]]
    with torch.no_grad():
        ragged = hidden_states(policy, RaggedBatch.from_sequences(sequences)).split([3, 5])
        for pad in ([[0, 0, 5, 99, 42], sequences[1]], [[5, 99, 42, 0, 0], sequences[1]]):
            tokens = torch.tensor(pad)
            mask = (tokens != 0).long()
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            hidden = policy.base_model(tokens, attention_mask=mask, position_ids=positions).last_hidden_state
            for row, expected in enumerate(ragged):
                torch.testing.assert_close(hidden[row][mask[row] == 1], expected, rtol=0, atol=1e-5)


def test_sliding_window_is_exact(tmp_path):
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        sliding_window=4, max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    MistralForCausalLM(config).save_pretrained(tmp_path)
    ours = load_policy(tmp_path)
    plain = MistralForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    sequences = [[3, 9, 4, 7, 8, 1, 2, 6, 5, 11], [4, 4, 9], [5, 6, 7, 8, 9, 10]]
    with torch.no_grad():
        got = hidden_states(ours, RaggedBatch.from_sequences(sequences))
        expected = [plain.base_model(torch.tensor([s]), use_cache=False).last_hidden_state[0] for s in sequences]
    torch.testing.assert_close(got, torch.cat(expected), rtol=0, atol=1e-5)


def test_an_architecture_that_mixes_neighbours_is_refused(tmp_path):
    from transformers import MambaConfig, MambaForCausalLM

    MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4)).save_pretrained(tmp_path)
    with pytest.raises(TruingError, match=r"Choose|cannot load"):
        load_policy(tmp_path)


def test_no_mask_of_tokens_by_tokens_is_made(policy):
    """Peak size of any tensor stays far under T x T."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Largest(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple | list) else [out]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return out

    batch = RaggedBatch.from_sequences([[5] * 8] * 400)
    with torch.no_grad(), Largest():
        hidden_states(policy, batch)
    assert largest < batch.n_tokens**2 / 10


def test_gradient_checkpointing_gives_the_same_gradient(tiny_model_dir):
    def gradient(checkpointing):
        model = load_policy(tiny_model_dir, LoadSettings(gradient_checkpointing=checkpointing)).train()
        batch = RaggedBatch.from_sequences([[5, 9, 9, 30], [6, 7]])
        token_logprobs(model, batch, batch.every_position()).logprobs_N.sum().backward()
        return model.get_input_embeddings().weight.grad

    torch.testing.assert_close(gradient(True), gradient(False), rtol=0, atol=1e-6)


def test_a_random_model_has_the_entropy_of_its_vocabulary():
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, initializer_range=1e-3)
    model.set_attn_implementation("truing")
    batch = RaggedBatch.from_sequences([[5, 9, 9, 30], [6, 7]])
    with torch.no_grad():
        scores = token_logprobs(model, batch, batch.every_position(), entropy=True)
    assert scores.entropy_N.mean().item() == pytest.approx(torch.log(torch.tensor(float(len(tokenizer)))).item(), abs=1e-3)


ROWS_OF_TOKENS = st.lists(st.integers(5, 250), min_size=2, max_size=20)
GROUPED = st.lists(
    st.tuples(ROWS_OF_TOKENS, st.lists(st.one_of(ROWS_OF_TOKENS, st.just([])), min_size=1, max_size=4)), min_size=1, max_size=4
)


def laid_out(tree):
    """Sequences and their group numbers, interleaved so that groups are not neighbours."""
    rows = [(group, [*prompt, *rest]) for group, (prompt, branches) in enumerate(tree) for rest in branches]
    rows.sort(key=lambda row: (len(row[1]) % 3, row[0]))
    return [sequence for _, sequence in rows], [group for group, _ in rows]


@settings(max_examples=25, deadline=None)
@given(GROUPED)
def test_a_shared_beginning_changes_no_logprob_value_or_score(policy, scorer, tree):
    sequences, groups = laid_out(tree)
    shared, apart = RaggedBatch.from_sequences(sequences, groups=groups), RaggedBatch.from_sequences(sequences)
    assert shared.n_tokens <= apart.n_tokens
    with torch.no_grad():
        for model, read in (
            (policy, lambda m, b: token_logprobs(m, b, b.every_position(), temperature=0.7).logprobs_N),
            (scorer, lambda m, b: token_values(m, b, b.every_position())),
            (scorer, last_token_scores),
        ):
            torch.testing.assert_close(read(model, shared), read(model, apart), rtol=0, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(GROUPED)
def test_a_shared_beginning_changes_no_gradient(policy, tree):
    sequences, groups = laid_out(tree)

    def gradients(batch):
        model = copy.deepcopy(policy)
        logprobs_N = token_logprobs(model, batch, batch.every_position()).logprobs_N
        (logprobs_N * torch.linspace(-1, 1, len(logprobs_N))).sum().backward()
        return {name: p.grad for name, p in model.named_parameters()}

    apart = gradients(RaggedBatch.from_sequences(sequences))
    for name, grad in gradients(RaggedBatch.from_sequences(sequences, groups=groups)).items():
        scale = max(1.0, float(apart[name].abs().max()))
        torch.testing.assert_close(grad / scale, apart[name] / scale, rtol=0, atol=1e-5)


def test_a_shared_beginning_is_stored_once():
    sequences = [[1, 2, 3, 4, 5], [1, 2, 3, 9], [7, 8], [1, 2, 3]]
    batch = RaggedBatch.from_sequences(sequences, groups=[0, 0, 1, 0])
    assert batch.n_tokens == 3 + 2 + 1 + 2
    assert batch.tokens_T[batch.ends_B].tolist() == [5, 9, 8, 3]
    assert batch.every_position().targets_N.tolist() == [2, 3, 4, 5, 2, 3, 9, 8, 2, 3]
    assert shared_length([sequences[0], sequences[1]]) == 6
    # context 3 seen by 2 + 1 tokens, causal within
    assert batch.layout.attention_pairs == 6 + (2 * 3 + 3) + (3 + 1) + 3


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@settings(max_examples=10, deadline=None)
@given(GROUPED)
def test_flex_attention_sees_what_rectangles_see(policy, tree):
    sequences, groups = laid_out(tree)
    flex = copy.deepcopy(policy)
    flex.set_attn_implementation("truing_flex")
    batch = RaggedBatch.from_sequences(sequences, groups=groups)
    with torch.no_grad():  # torch 2.13 has no backward pass of FlexAttention on a CPU
        rectangles, blocks = (token_logprobs(model, batch, batch.every_position()).logprobs_N for model in (policy, flex))
    torch.testing.assert_close(blocks, rectangles, rtol=0, atol=1e-5)
