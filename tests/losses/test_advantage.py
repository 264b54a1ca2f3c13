import pytest
import torch
from torch.testing import assert_close

from truing.losses.advantage import RewardScale, gae, group_relative, leave_one_out, token_rewards

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


def test_group_relative_by_hand() -> None:
    reward_B = torch.tensor([1.0, 2.0, 3.0, 6.0, 0.0, 0.0])  # two prompts of three; means 2 and 2; deviations 1 and sqrt(12)
    plain = group_relative(reward_B, 3, "none")
    assert_close(plain.advantages_B, torch.tensor([-1.0, 0.0, 1.0, 4.0, -2.0, -2.0]))
    by_group = group_relative(reward_B, 3, "group")
    assert_close(by_group.advantages_B[:3], torch.tensor([-1.0, 0.0, 1.0]) / 1.0001)
    assert_close(by_group.advantages_B[3:], torch.tensor([4.0, -2.0, -2.0]) / (12**0.5 + 1e-4))
    # all six: mean 2, squared deviations 1 + 0 + 1 + 16 + 4 + 4 = 26, by 5
    by_batch = group_relative(reward_B, 3, "batch")
    assert_close(by_batch.advantages_B, plain.advantages_B / (5.2**0.5 + 1e-4))
    assert plain.equal_groups == by_group.equal_groups == by_batch.equal_groups == 0


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others() -> None:
    advantages_B, equal_groups = leave_one_out(torch.tensor([1.0, 2.0, 6.0, 5.0, 5.0, 5.0]), 3)
    assert_close(advantages_B, torch.tensor([1 - 4.0, 2 - 3.5, 6 - 1.5, 0.0, 0.0, 0.0]))
    assert equal_groups == 0.5


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_groups_advantages_sum_to_nothing_and_equal_rewards_teach_nothing(scale: RewardScale) -> None:
    reward_B = torch.randn(32, generator=torch.Generator().manual_seed(0))
    reward_B[:8] = 0.1  # 0.1 is not exact: the mean of eight need not be 0.1
    for advantages_B, equal_groups in (group_relative(reward_B, 8, scale), leave_one_out(reward_B, 8)):
        assert_close(advantages_B.view(4, 8).sum(1), torch.zeros(4), atol=1e-5, rtol=0)
        assert torch.equal(advantages_B[:8], torch.zeros(8))
        assert equal_groups == 0.25


def test_leave_one_out_is_the_centred_reward_times_g_over_g_minus_one() -> None:
    reward_B = torch.randn(12, generator=torch.Generator().manual_seed(1))
    assert_close(leave_one_out(reward_B, 4).advantages_B, group_relative(reward_B, 4, "none").advantages_B * 4 / 3)
