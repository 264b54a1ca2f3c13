import torch
from torch.testing import assert_close

from truing.losses.advantage import gae, token_rewards

REWARDS_N = torch.tensor([1.0, 2.0, 4.0, 10.0])
VALUES_N = torch.tensor([0.5, 1.0, 1.5, 7.0])
LENGTHS_B = torch.tensor([3, 1])


def test_lambda_and_gamma_one_give_return_minus_value() -> None:
    result = gae(REWARDS_N, VALUES_N, LENGTHS_B, 1.0, 1.0)
    assert_close(result.advantages_N, torch.tensor([6.5, 5.0, 2.5, 3.0]))
    assert_close(result.returns_N, torch.tensor([7.0, 6.0, 4.0, 10.0]))


def test_lambda_zero_gives_the_temporal_difference_error() -> None:
    result = gae(REWARDS_N, VALUES_N, LENGTHS_B, 0.9, 0.0)
    # 1 + 0.9 * 1 - 0.5, 2 + 0.9 * 1.5 - 1, 4 - 1.5, 10 - 7
    assert_close(result.advantages_N, torch.tensor([1.4, 2.35, 2.5, 3.0]))


def test_between_the_limits_by_hand() -> None:
    # gamma = lambda = 1/2: 2.5; 2 + 0.75 - 1 + 2.5 / 4 = 2.375; 1 + 0.5 - 0.5 + 2.375 / 4 = 1.59375
    result = gae(REWARDS_N, VALUES_N, LENGTHS_B, 0.5, 0.5)
    assert_close(result.advantages_N, torch.tensor([1.59375, 2.375, 2.5, 3.0]))


def test_nothing_leaks_between_episodes_or_past_the_end() -> None:
    alone = gae(REWARDS_N[:3], VALUES_N[:3], LENGTHS_B[:1], 1.0, 0.95)
    for neighbour in (torch.tensor([1e6]), torch.tensor([-1e6])):
        together = gae(torch.cat([REWARDS_N[:3], neighbour]), torch.cat([VALUES_N[:3], neighbour]), LENGTHS_B, 1.0, 0.95)
        assert_close(together.advantages_N[:3], alone.advantages_N)
    flipped = gae(REWARDS_N[[3, 0, 1, 2]], VALUES_N[[3, 0, 1, 2]], LENGTHS_B.flip(0), 1.0, 0.95)
    assert_close(flipped.advantages_N[1:], alone.advantages_N)


def test_the_score_arrives_at_the_last_token_and_the_penalty_at_each() -> None:
    rewards_N = token_rewards(torch.tensor([1.0, -2.0]), torch.tensor([0.1, 0.2, -0.3, 1.0]), LENGTHS_B, 0.5)
    assert_close(rewards_N, torch.tensor([-0.05, -0.1, 1.15, -2.5]))
