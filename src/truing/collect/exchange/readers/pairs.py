"""Sets that say only which answer was preferred: TRL's formats and hh-rlhf. Nobody knows who judged, or what stood at left."""

from __future__ import annotations

from collections.abc import Iterator

from truing.collect.exchange.judged import Answer, Judged, Vote, as_prompt, from_preferred
from truing.data.files import Row
from truing.data.formats import sides
from truing.data.turns import is_transcript, wrong

UNIDENTIFIED = "unidentified"
"""The rater of sets that name none: everyone who worked on the set, taken together."""


def is_hh_rlhf(row: Row) -> bool:
    """Two whole transcripts and no prompt beside them."""
    return "prompt" not in row.fields and all(is_transcript(row.fields.get(field)) for field in ("chosen", "rejected"))


def is_trl(row: Row) -> bool:
    """`chosen` and `rejected` that are no transcripts."""
    return {"chosen", "rejected"} <= row.fields.keys() and not is_hh_rlhf(row)


def read_pair(row: Row) -> Iterator[Judged]:
    """Both formats; TRL's in text or messages, its prompt beside or inside the two sides. `label` 0.5 is a tie."""
    label = row.fields.get("label")
    if label not in {None, 1, 0.5}:
        raise wrong(row, "label", "a soft label is no rater's vote. Train on such a file as it is: --comparisons FILE")
    found = sides(row)
    group = row.fields.get("group")
    prompt = as_prompt(found.prompt, None if group is None else str(group))
    vote = Vote(UNIDENTIFIED, "tie" if label == 0.5 else "first")
    ranking = str(row.fields.get("ranking") or "")
    yield from_preferred(row, prompt, Answer(found.chosen), Answer(found.rejected), vote, group=ranking)
