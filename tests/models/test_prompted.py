"""Attention with prompts kept once, against attention that sees prompt and own tokens in one piece."""

import pytest
import torch
from torch.nn import functional

from truing.models.prompted import PromptRows, PromptStates, prompted_attention
from truing.models.segments import has_kernel

pytestmark = pytest.mark.skipif(not has_kernel(), reason="this torch has no kernel that tells the sums")
WIDTH = 8


def states(length, heads):
    return PromptStates(*({layer: torch.randn(1, heads, length, WIDTH) for layer in range(2)} for _ in range(2)))


@pytest.mark.parametrize("sharing", [1, 3])
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("prompt_of_row", [[0], [0, 0, 0], [2, 0, 1, 0, 2, 2, 1], [0, 1, 2]])
def test_it_is_attention_over_prompt_and_own_tokens(sharing, scale, prompt_of_row):
    torch.manual_seed(0)
    heads, columns, rows = 2, 6, len(prompt_of_row)
    prompts = [states(length, heads) for length in (1, 5, 40)]
    query = torch.randn(rows, heads, sharing, WIDTH)
    key, value = torch.randn(2, rows, heads, columns, WIDTH)
    column_R = torch.randint(columns, (rows,))
    mask = torch.zeros(rows, columns).masked_fill_(torch.arange(columns) > column_R[:, None], -torch.inf)[:, None, None]
    of_row = [prompts[number] for number in prompt_of_row]
    out = prompted_attention(query, key, value, mask, PromptRows.of(of_row), 1, scale)
    for row, (prompt, column) in enumerate(zip(of_row, column_R.tolist(), strict=True)):
        keys, values = (
            torch.cat([before[1], own[None, row, :, : column + 1]], 2)
            for before, own in ((prompt.keys, key), (prompt.values, value))
        )
        alone = functional.scaled_dot_product_attention(query[None, row], keys, values, scale=scale)[0]
        torch.testing.assert_close(out[row], alone, atol=1e-6, rtol=1e-5)


def test_rows_are_found_anew_only_when_they_differ():
    first, second = states(3, 1), states(3, 1)
    rows = PromptRows.of([first, second, first])
    assert rows.counts == (2, 1)
    assert rows.is_of([first, second, first])
    assert not rows.is_of([first, second])
    assert not rows.is_of([first, first, second])


def test_a_copy_does_not_keep_what_it_was_run_with():
    whole = torch.randn(1, 2, 100, WIDTH)
    part = PromptStates({0: whole.narrow(2, 10, 5)}, {0: whole.narrow(2, 20, 5)})
    copy = part.copied(torch.float64)
    assert (copy.length, copy.keys[0].untyped_storage().nbytes()) == (5, 5 * 2 * WIDTH * 8)
    assert copy.keys[0].is_contiguous()
    assert torch.equal(copy.values[0].float(), part.values[0])
