import json

from benchmarks.memory import configurations, summary
from benchmarks.table import BEGIN, END, README, read_all, render, with_results

PEAKS = {"ours": {"peak_bytes": 50 * 2**20, "baseline_bytes": 0}, "peer": {"peak_bytes": 100 * 2**20, "baseline_bytes": 0}}


def row(threads=1, vocab=8192, **others):
    return {
        "case": "sft",
        "dtype": "float32",
        "threads": threads,
        "vocab": vocab,
        "ratio": 2.345,
        "low": 2.0,
        "high": 3.0,
        "figure": 2.0,
        "floor_fraction": 0.6,
        "memory": PEAKS,
        "memory_ratio": 0.5,
        "memory_ratio_above_baseline": 0.4,
        "parity": {"holds": True},
        **others,
    }


def results(*rows):
    machine = {"cpu": "a processor", "cores": 2, "memory_gib": 24.0, "commit": "abc"}
    return {"work": "W1", "machine": machine, "repeats": 5, "seed": 0, "rows": list(rows)}


def test_the_page_says_what_the_results_say():
    assert with_results(README.read_text(), render(read_all())) == README.read_text()


def test_without_results_the_page_says_so():
    assert render([]) == "No results are committed yet.\n"


def test_a_line_a_precision_with_its_columns_in_order():
    lines = render([results(row(), row(threads=2, vocab=50257, ratio=3.0, floor_fraction=0.7))]).splitlines()
    assert lines[2] == "| W1 | a processor | sft | float32 | 2.35 [2.00, 3.00] |  |  | 3.00 [2.00, 3.00] | 2.0 | 0.60–0.70 |"
    assert "| W1 | a processor | sft | float32 | 8192 | 50 | 100 | 0.5 | 0.4 |" in lines
    assert lines[-1] == "- W1: a processor, 2 cores, 24.0 GiB; truing at abc, ; 5 pairs, seed 0."


def test_sides_that_disagree_are_shown_as_such():
    missing = {"ratio": None, "floor_fraction": None, "memory_ratio": None, "parity": {"holds": False}}
    assert "| no parity |" in render([results(row(**missing))])


def test_only_what_stands_between_the_marks_is_replaced():
    page = f"before\n{BEGIN}\n\nold\n{END}\nafter\n"
    assert with_results(page, "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_memory_is_counted_once_a_configuration_and_the_worst_is_summed_up():
    lines = list(configurations(results(row(), row(threads=2), row(vocab=50257, memory_ratio=0.7))))
    assert [line["memory_ratio"] for line in lines] == [0.5, 0.7]
    last = summary(lines)
    assert (last["work"], last["ratio"], last["low"], last["vocab"], last["parity"]) == ("W7", 0.7, 0.5, 50257, True)
    json.dumps(last)
