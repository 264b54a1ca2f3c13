import numpy as np
import pytest

from truing.raters.advice import RaterEvidence, advise, down_weights
from truing.raters.checks import Flag
from truing.raters.drift import change_point


def test_a_change_is_found_where_it_is_and_a_constant_stream_has_none() -> None:
    rng = np.random.default_rng(0)
    changed = change_point(np.r_[rng.normal(0, 1, 200), rng.normal(1, 1, 200)], 20)
    assert changed is not None
    assert changed.at == pytest.approx(200, abs=10)
    assert changed.p_value < 1e-6
    found = [change_point(rng.normal(0, 1, 300), 20) for _ in range(1000)]
    assert np.mean([c is not None and c.p_value < 0.05 for c in found]) < 0.06
    assert change_point([1.0] * 100, 20) is None
    assert change_point([0.0, 1.0] * 15, 20) is None


def drifted(kind: str, before: float, after: float) -> Flag:
    return Flag(rater_id="r", kind=kind, message="m", at_judgment=101, evidence={"before": before, "after": after})


def test_a_fall_in_reliability_down_weights_from_the_change_on() -> None:
    evidence = {"r": RaterEvidence([], (), {101: (2.0, 1.0)})}
    advice = advise([drifted("drift_reliability", 0.2, 0.1)], evidence)
    assert [a.action for a in advice] == ["re_certify", "down_weight", "re_queue"]
    assert down_weights(advice) == {"r": (100, 0.25)}
    assert advise([drifted("drift_reliability", 0.1, 0.2)], evidence) == []
    nearly = {"r": RaterEvidence([], (), {101: (2.0, 1.95)})}
    assert advise([drifted("drift_reliability", 0.2, 0.1)], nearly) == []
    assert [a.action for a in advise([drifted("drift_gold", 0.9, 0.5)], nearly)] == ["re_certify"]
    assert advise([drifted("drift_time", 2.0, 1.0)], evidence) == []
