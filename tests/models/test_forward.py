import copy

import pytest
import torch

from truing.errors import TruingError
from truing.models import forward
from truing.models.forward import last_token_scores, token_logprobs, token_values
from truing.models.load import load_policy, load_scorer
from truing.models.ragged import RaggedBatch

SEQUENCES = [[5, 9, 9, 30, 77, 41], [6, 7, 250]]


@pytest.fixture(scope="module")
def policy(tiny_model_dir):
    return load_policy(tiny_model_dir)


def test_only_selected_tokens_are_scored_in_order(policy):
    batch = RaggedBatch.from_sequences(SEQUENCES)
    everywhere = token_logprobs(policy, batch, batch.position_ids_T > 0).logprobs_N
    where = batch.mask([[False, False, True, False, True, False], [False, False, True]])
    torch.testing.assert_close(token_logprobs(policy, batch, where).logprobs_N, everywhere[[1, 3, 6]], rtol=0, atol=1e-5)


def test_the_first_token_of_a_sequence_cannot_be_scored(policy):
    batch = RaggedBatch.from_sequences(SEQUENCES)
    with pytest.raises(ValueError, match="first token"):
        token_logprobs(policy, batch, torch.ones(batch.n_tokens, dtype=torch.bool))


def test_chunks_give_the_same_values_and_gradients(policy, monkeypatch):
    def run():
        model = copy.deepcopy(policy)
        batch = RaggedBatch.from_sequences(SEQUENCES)
        scores = token_logprobs(model, batch, batch.position_ids_T > 0, temperature=0.7, entropy=True)
        (scores.logprobs_N.sum() + scores.entropy_N.sum()).backward()
        return scores.logprobs_N.detach(), scores.entropy_N.detach(), model.get_input_embeddings().weight.grad

    whole = run()
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 2 * 300)
    for a, b in zip(whole, run(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_the_value_of_the_last_state_is_the_score_of_the_sequence_without_its_last_token(tiny_model_dir):
    scorer = load_scorer(tiny_model_dir, seed=3)
    batch = RaggedBatch.from_sequences(SEQUENCES)
    last = torch.zeros(batch.n_tokens, dtype=torch.bool)
    last[batch.ends_B] = True
    with torch.no_grad():
        values = token_values(scorer, batch, last)
        scores = last_token_scores(scorer, RaggedBatch.from_sequences([s[:-1] for s in SEQUENCES]))
    torch.testing.assert_close(values, scores, rtol=0, atol=1e-5)


def test_scores_are_those_of_transformers_with_padding(tiny_model_dir, tmp_path):
    from transformers import AutoModelForSequenceClassification

    scorer = load_scorer(tiny_model_dir, seed=3)
    scorer.save_pretrained(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager")
    with torch.no_grad():
        got = last_token_scores(scorer, RaggedBatch.from_sequences(SEQUENCES))
        padded = torch.tensor([SEQUENCES[0], [*SEQUENCES[1], 0, 0, 0]])
        expected = plain(padded, attention_mask=(padded != 0).long()).logits[:, 0]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_a_policy_has_no_scores(policy):
    with pytest.raises(TruingError, match="load_scorer"):
        last_token_scores(policy, RaggedBatch.from_sequences(SEQUENCES))
