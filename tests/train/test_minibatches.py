import pytest
import torch

from truing.records import Ending, SampledCompletion
from truing.train.config import GRPOConfig
from truing.train.minibatches import Episodes, deal

CPU = torch.device("cpu")


def episodes(n_prompts: int, group_size: int) -> Episodes:
    """Prompt p is [p] * 10; its completions are 1, 2, 3 ... tokens long."""

    def completion(length: int) -> SampledCompletion:
        tokens, logprobs = tuple(range(100, 100 + length)), (-1.0,) * length
        return SampledCompletion(tokens=tokens, logprobs=logprobs, ending=Ending.END_OF_TURN, weights_version=0)

    prompts = [[prompt + 1] * 10 for prompt in range(n_prompts)]
    return Episodes.of(prompts, [[completion(length + 1) for length in range(group_size)] for _ in prompts])


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("minibatches", [1, 2, 3, 5])
@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_every_token_is_in_one_piece_under_its_own_number(share: bool, minibatches: int, budget: int) -> None:
    config = GRPOConfig(share_prompts=share, minibatches=minibatches, micro_batch_tokens=budget)
    given = episodes(4, 3)
    dealt = deal(given, config, 1, CPU)
    tokens_N = torch.tensor([token for one in given.completions for token in one.tokens])
    pieces = [piece for minibatch in dealt for piece in minibatch.pieces]
    assert sorted(torch.cat([piece.tokens_n for piece in pieces]).tolist()) == list(range(len(tokens_N)))
    for piece in pieces:
        assert torch.equal(piece.where.targets_N, tokens_N[piece.tokens_n])
        assert piece.batch.n_sequences == len(piece.episodes_b) == len(piece.lengths_b)
        assert piece.batch.n_tokens <= budget or len(piece.episodes_b) == 1
    assert max(m.episodes for m in dealt) - min(m.episodes for m in dealt) <= 1
    assert [m.tokens for m in dealt] == [sum(len(piece.tokens_n) for piece in m.pieces) for m in dealt]


def test_a_prompt_stays_together_and_is_laid_once() -> None:
    dealt = deal(episodes(4, 3), GRPOConfig(minibatches=2), 1, CPU)
    for minibatch in dealt:
        (piece,) = minibatch.pieces
        assert len({row // 3 for row in piece.episodes_b.tolist()}) == 2  # six episodes of two prompts
        assert piece.batch.n_tokens == 2 * (11 + 1 + 2)  # the prompt and the first token, which is common to all three, once
    apart = deal(episodes(4, 3), GRPOConfig(minibatches=2, share_prompts=False), 1, CPU)
    assert [minibatch.pieces[0].batch.n_tokens for minibatch in apart] == [2 * (11 + 12 + 13)] * 2


def test_what_is_dealt_depends_on_seed_and_update() -> None:
    def rows(update: int, seed: int) -> list[int]:
        return deal(episodes(20, 2), GRPOConfig(minibatches=2, seed=seed), update, CPU)[0].pieces[0].episodes_b.tolist()

    assert rows(1, 0) == rows(1, 0)
    assert rows(1, 0) != rows(2, 0)
    assert rows(1, 0) != rows(1, 1)
