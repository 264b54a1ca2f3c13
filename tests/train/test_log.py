import json
from pathlib import Path

import pytest

from truing.train.config import LoggingConfig
from truing.train.log import MetricsLog


def test_rows_are_appended_and_cut_back_on_resume(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, LoggingConfig())
    for step in range(4):
        log.write({"step": step, "loss": 0.5})
    resumed = MetricsLog(tmp_path, LoggingConfig(), keep_rows=2)
    resumed.write({"step": 2, "loss": 0.25})
    assert [row["step"] for row in resumed.read()] == [0, 1, 2]
    assert resumed.read()[-1]["loss"] == 0.25


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    MetricsLog(tmp_path, LoggingConfig()).write({"loss": float("nan")})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"loss": None}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_files_where_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    log = MetricsLog(tmp_path, LoggingConfig(tensorboard=True))
    log.write({"loss": 0.5})
    log.close()
    assert list((tmp_path / "tensorboard").iterdir())
