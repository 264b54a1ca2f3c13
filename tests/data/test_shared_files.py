"""People's preference files, where this machine has them."""

from pathlib import Path

import pytest

from truing.data.formats import read_pairs
from truing.data.splits import group_of, split_by

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def read(name, skipped):
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not there: put the shared models and data beside the checkout to run this")
    return read_pairs(DATA / name, skipped=skipped)


def test_hh_rlhf():
    skipped = []
    pairs = read("hh-rlhf/harmless-base-test.jsonl.gz", skipped)
    assert len(pairs) + len(skipped) == 2312
    assert len(skipped) < 10
    assert all(pair.prompt.messages[-1].role == "user" for pair in pairs)


def test_ukpconvarg1_split_by_debate():
    skipped = []
    pairs = read("ukpconvarg1/pairs.jsonl.gz", skipped)
    assert len(pairs) + len(skipped) == 13080
    split = split_by(pairs, lambda pair: group_of(pair.prompt), 0.2, seed=0)
    debates = [{pair.prompt.meta["group"] for pair in part} for part in split]
    assert len(debates[0]) + len(debates[1]) == 12
    assert not debates[0] & debates[1]
    assert {pair.label for pair in pairs} > {0.5, 0.6, 0.8, 1.0}
