from truing.program.amendments import CLAUSES, MODE_CLAUSES, NEEDS_SIGN_OFF, apply, describe, diff, propose, sign
from truing.records import Estimate, Finding, Guideline

GUIDELINE = Guideline(version=1, text="# Guideline\n\nChoose the better answer.\n")


def finding(mode: str, finding_id: str = "r1-a") -> Finding:
    rate = Estimate(value=0.8, low=0.7, high=0.9, n=60)
    return Finding(finding_id=finding_id, round=1, source="redteam", mode=mode, summary=f"{mode} at 0.80", rate=rate)


def test_findings_of_one_clause_make_one_amendment_and_unknown_modes_none() -> None:
    amendments = propose([finding("verbosity", "a"), finding("padding", "b"), finding("opinion", "c"), finding("gibberish", "d")])
    assert [(a.clause, a.finding_ids) for a in amendments] == [("length", ("a", "b")), ("opinion", ("c",))]
    assert all(a.notice == NEEDS_SIGN_OFF and a.signed_off_by is None for a in amendments)


def test_nothing_changes_without_a_sign_off() -> None:
    proposed = propose([finding("verbosity")])
    assert apply(GUIDELINE, proposed) == GUIDELINE
    signed = apply(GUIDELINE, sign(proposed, "maria", simulated=False))
    assert signed.clauses == ("length",)
    assert signed.version == 2


def test_two_clauses_make_one_new_version() -> None:
    signed = sign(propose([finding("verbosity"), finding("flattery")]), "recipe", simulated=True)
    after = apply(GUIDELINE, signed)
    assert (after.version, after.clauses) == (2, ("length", "flattery"))
    assert apply(after, signed) == after


def test_the_diff_is_readable_and_says_who_signed() -> None:
    signed = sign(propose([finding("verbosity")]), "recipe", simulated=True)
    text = describe(GUIDELINE, apply(GUIDELINE, signed), signed)
    assert "# length: verbosity at 0.80" in text
    assert "simulated: the recipe signs off automatically" in text
    assert "+## Length earns nothing {#length}" in text
    assert diff(GUIDELINE, GUIDELINE) == ""


def test_every_mode_leads_to_a_clause_with_text() -> None:
    assert set(MODE_CLAUSES.values()) == set(CLAUSES)
