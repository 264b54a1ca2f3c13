from pathlib import Path

from benchmarks.paired.harness import MISSING, Case, Work, _Bench, _compared, headline, slowest
from benchmarks.paired.settings import parse


def run(seconds, tokens=10):
    return {"seconds": seconds, "cpu_seconds": seconds / 2, "floor_seconds": 0.5, "tokens": tokens}


def row(ratio, *, holds=True):
    numbers = {**dict.fromkeys(MISSING), "ratio": ratio}
    return {"case": "a", "dtype": "float32", "threads": 1, "vocab": 8, "parity": {"holds": holds}, **numbers}


def test_pairs_are_compared_in_seconds():
    compared = _compared([(run(1.0), run(2.0)), (run(1.0), run(4.0)), (run(1.0), run(3.0))], per_token=False)
    assert (compared["ratio"], compared["low"], compared["high"]) == (3.0, 2.0, 4.0)
    assert compared["floor_fraction"] == 0.5


def test_or_in_seconds_a_token():
    assert _compared([(run(1.0, tokens=10), run(2.0, tokens=40))], per_token=True)["ratio"] == 0.5


def test_the_worst_configuration_is_the_summary():
    assert slowest([row(3.0), row(2.0), row(4.0)])["ratio"] == 2.0
    assert slowest([row(3.0), row(None, holds=False)])["ratio"] is None


def test_a_headline_rounds_and_names_its_configuration():
    line = headline("W1", row(2.34567))
    assert line["ratio"] == 2.346
    assert (line["work"], line["parity"], line["case"], line["dtype"]) == ("W1", True, "a", "float32")
    assert list(line)[:7] == ["work", "ratio", "low", "high", "floor_fraction", "memory_ratio", "parity"]


def test_a_peer_that_keeps_its_threads_is_started_for_each_number():
    """Told to use fewer than it started with, vLLM took thirty times as long."""
    settings = parse("W6", ["a"], "", ["--threads", "1", "2"])
    bench = _Bench(Work("W6", "ours", dict, ()), settings, Path(), {})
    assert list(bench._starts(Case("a", "vllm", "peer.py", [{}], {}))) == [(1, 2)]
    assert list(bench._starts(Case("a", "vllm", "peer.py", [{}], {}, fixed_threads=True))) == [(1,), (2,)]
