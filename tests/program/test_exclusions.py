import pytest

from truing.errors import TruingError
from truing.program.exclusions import leave_out, notes
from truing.records import Judgment

V1, V3, OTHER = "a1" * 32, "b3" * 32, "b3c4" * 16


def judgment(rater, guideline):
    return Judgment(
        comparison_id="c", rater_id=rater, guideline_hash=guideline, left=None, choice="tie", confidence=0.5, simulated=False
    )


ROWS = [judgment("ann", V1), judgment("bob", V3), judgment("ann", V3), judgment("cy", V1)]


@pytest.mark.parametrize("wanted", ["3", "v3", V3, V3[:6]])
def test_a_guideline_is_named_by_version_or_hash(wanted):
    kept, left_out = leave_out(ROWS, [wanted], [], {V1: 1, V3: 3})
    assert kept == [ROWS[0], ROWS[3]]
    assert left_out == {f"guideline {wanted} ({V3[:12]})": 2}


def test_raters_and_guidelines_together():
    kept, left_out = leave_out(ROWS, ["3"], ["cy"], {V1: 1, V3: 3})
    assert kept == [ROWS[0]]
    assert notes(left_out) == (
        "without guideline 3 (b3b3b3b3b3b3): 2 judgments left out",
        "without rater cy: 1 judgments left out",
    )
    assert leave_out(ROWS, [], [], {}) == (ROWS, {})


@pytest.mark.parametrize(
    ("guidelines", "raters", "message"),
    [
        (["2"], [], "nothing here was judged under it"),
        (["b3"], [], "6 characters"),
        (["b3b3b4"], [], "nothing here"),
        (["1"], [], "several guidelines are meant"),
        ([], ["anm"], "did you mean 'ann'"),
        ([V3], ["ann", "cy"], "no judgment stays"),
    ],
)
def test_what_cannot_be_meant_is_refused(guidelines, raters, message):
    with pytest.raises(TruingError, match=message):
        leave_out([*ROWS, judgment("bob", OTHER)] if guidelines == ["1"] else ROWS, guidelines, raters, {V1: 1, V3: 3, OTHER: 1})
