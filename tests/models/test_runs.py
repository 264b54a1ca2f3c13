from truing.models.runs import token_runs


def test_runs_keep_the_order_and_the_budget() -> None:
    assert token_runs([3, 0, 2, 1], [5, 4, 9, 2], 8) == [[3, 0], [2], [1]]
    assert token_runs([], [], 8) == []
