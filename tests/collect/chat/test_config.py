"""A live campaign: two policies at least, each once, one pair by the rater who talks."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from truing.collect.chat.config import LiveConfig
from truing.collect.config import CampaignConfig, RankingTask

LIVE = {"policies": ("sft", "ppo")}


@pytest.mark.parametrize("policies", [("sft",), ("sft", "sft")])
def test_two_different_policies_are_needed(policies):
    with pytest.raises(ValidationError):
        LiveConfig(policies=policies)


def test_a_chat_is_compared_as_a_pair_by_one_rater():
    assert CampaignConfig(name="chat", live=LIVE, overlap=1).live == LiveConfig(**LIVE)
    for wrong in ({"overlap": 3}, {"overlap": 1, "tasks": (RankingTask(),)}):
        with pytest.raises(ValidationError, match="tasks begin with a pair, overlap = 1"):
            CampaignConfig(name="chat", live=LIVE, **wrong)
