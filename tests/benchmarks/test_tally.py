from pathlib import Path

import pytest

from benchmarks.worlds.tally import run_all


def test_what_is_done_is_not_done_again_and_a_cut_line_is(tmp_path: Path) -> None:
    path, calls = tmp_path / "rows.jsonl", []

    def piece(name: str) -> dict[str, str]:
        if name == "killed":
            raise KeyboardInterrupt
        calls.append(name)
        return {"value": name}

    with pytest.raises(KeyboardInterrupt):
        run_all(path, {name: lambda name=name: piece(name) for name in ("a", "killed", "c")})
    path.write_text(path.read_text() + '{"key": "b", "val')
    rows = run_all(path, {name: lambda name=name: piece(name) for name in ("a", "b", "c")})
    assert calls == ["a", "b", "c"]
    assert rows == {name: {"key": name, "value": name} for name in ("a", "b", "c")}
    assert len(path.read_text().splitlines()) == 3
