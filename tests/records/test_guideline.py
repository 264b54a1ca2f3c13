from truing.records import Guideline

TEXT = "# Guideline\n\n## Be correct {#correct}\n\nRight beats wrong.\n\n## Be brief {#length}\n\nOld text.\n"


def test_clauses_are_read_in_order() -> None:
    assert Guideline(version=1, text=TEXT).clauses == ("correct", "length")


def test_amending_adds_a_clause_and_changes_the_hash() -> None:
    before = Guideline(version=1, text=TEXT)
    after = before.amended("opinion", "Do not agree with what is wrong", "Facts first.")
    assert after.clauses == ("correct", "length", "opinion")
    assert after.version == 2
    assert after.guideline_hash != before.guideline_hash


def test_amending_a_known_clause_replaces_its_text_and_keeps_its_neighbours() -> None:
    before = Guideline(version=1, text=TEXT)
    after = before.amended("correct", "Be correct", "New text.")
    assert after.clauses == ("correct", "length")
    assert "Right beats wrong" not in after.text
    assert "Old text." in after.text


def test_sections_are_the_text_cut_at_its_clauses() -> None:
    opening, correct, length = Guideline(version=1, text=TEXT).sections
    assert (opening.clause_id, opening.title, opening.body) == ("", "", "# Guideline")
    assert (correct.clause_id, correct.title, correct.body) == ("correct", "Be correct", "Right beats wrong.")
    assert (length.clause_id, length.body) == ("length", "Old text.")


def test_a_text_without_clauses_is_one_section_and_an_empty_one_none() -> None:
    assert [s.body for s in Guideline(version=1, text="Just be kind.\n").sections] == ["Just be kind."]
    assert Guideline(version=1, text="").sections == ()
