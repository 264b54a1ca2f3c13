import pytest

from benchmarks import machine
from benchmarks.paired.settings import RESULTS, parse


def test_the_whole_grid_by_default(monkeypatch):
    monkeypatch.setattr(machine, "has_bf16_instructions", lambda: True)
    settings = parse("W1", ["sft"], "", [])
    assert (settings.dtypes, settings.threads, settings.vocabularies) == (("float32", "bfloat16"), (1, 2), (8192, 50257))
    assert (settings.repeats, settings.out, settings.device) == (5, RESULTS / "W1.json", "cpu")


def test_without_instructions_for_bfloat16_the_grid_is_float32(monkeypatch):
    monkeypatch.setattr(machine, "has_bf16_instructions", lambda: False)
    assert parse("W1", ["sft"], "", []).dtypes == ("float32",)
    assert parse("W1", ["sft"], "", ["--dtype", "bfloat16"]).dtypes == ("bfloat16",)
    assert parse("W1", ["sft"], "", ["--device", "cuda"]).dtypes == ("float32", "bfloat16")


def test_quick_is_one_corner_and_writes_nothing():
    settings = parse("W1", ["sft"], "", ["--quick"])
    assert (settings.dtypes, settings.threads, settings.vocabularies) == (("float32",), (1,), (8192,))
    assert (settings.repeats, settings.out) == (2, None)


def test_quick_gives_way_to_what_is_asked_for(tmp_path):
    arguments = ["--quick", "--dtype", "bfloat16", "--threads", "2", "--vocab", "50257", "--repeats", "3", "--case", "b"]
    settings = parse("W3", ["a", "b"], "", [*arguments, "--out", str(tmp_path / "x.json")])
    assert (settings.dtypes, settings.threads, settings.vocabularies) == (("bfloat16",), (2,), (50257,))
    assert (settings.repeats, settings.cases, settings.out) == (3, ("b",), tmp_path / "x.json")


def test_a_case_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse("W3", ["live", "cached"], "", ["--case", "other"])
    assert "invalid choice" in capsys.readouterr().err
