import math

import torch
from torch.testing import assert_close

from truing.losses.sft import sft


def test_the_loss_is_the_mean_negative_log_likelihood() -> None:
    # tokens of probability 1/2 and 1/8: (ln 2 + 3 ln 2) / 2
    loss = sft(torch.tensor([0.5, 0.125]).log(), 2).loss
    assert_close(loss, torch.tensor(2 * math.log(2)))


def test_micro_batches_add_up_to_the_batch() -> None:
    logprobs_N = torch.tensor([-0.3, -1.0, -2.2, -0.1, -0.7])
    whole = sft(logprobs_N, 5).loss
    parts = sft(logprobs_N[:1], 5).loss + sft(logprobs_N[1:], 5).loss
    assert_close(parts, whole)
