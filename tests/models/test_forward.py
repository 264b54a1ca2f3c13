import pytest
import torch

from truing.errors import TruingError
from truing.models.forward import last_token_scores, token_logprobs, token_values
from truing.models.load import load_policy, load_scorer
from truing.models.ragged import RaggedBatch

SEQUENCES = [[5, 9, 9, 30, 77, 41], [6, 7, 250]]


@pytest.fixture(scope="module")
def policy(tiny_model_dir):
    return load_policy(tiny_model_dir)


def test_only_selected_tokens_are_scored_in_order(policy):
    batch = RaggedBatch.from_sequences(SEQUENCES)
    everywhere = token_logprobs(policy, batch, batch.every_position()).logprobs_N
    where = batch.positions([[False, False, True, False, True, False], [False, False, True]])
    torch.testing.assert_close(token_logprobs(policy, batch, where).logprobs_N, everywhere[[1, 3, 6]], rtol=0, atol=1e-5)


def test_the_first_token_of_a_sequence_cannot_be_scored():
    batch = RaggedBatch.from_sequences(SEQUENCES)
    with pytest.raises(ValueError, match="first token"):
        batch.positions([[True] * len(sequence) for sequence in SEQUENCES])


def test_the_value_of_the_last_state_is_the_score_of_the_sequence_without_its_last_token(tiny_model_dir):
    scorer = load_scorer(tiny_model_dir, seed=3)
    batch = RaggedBatch.from_sequences(SEQUENCES)
    last = batch.positions([[False] * (len(sequence) - 1) + [True] for sequence in SEQUENCES])
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
