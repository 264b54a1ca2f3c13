"""Preferred and other answer as other programs read them: TRL's two formats and hh-rlhf; and Truing's own records as JSON lines.

Votes make one pair a comparison: chosen is what most chose, ties counting half. These formats have no place for a tie or a soft
label, so a comparison on which votes are even is left out and counted; `label` beside them keeps the share for those who read it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, get_args

from truing.collect.exchange.config import PairFormat
from truing.collect.exchange.judged import Judged
from truing.records import Message
from truing.store.files import close_synced

SPEAKERS = {"user": "Human", "assistant": "Assistant"}


class Preferred(NamedTuple):
    """A comparison on which votes were not even."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    label: float
    judgments: int
    group: str
    ranking: str


def preferred(judged: Judged) -> Preferred | None:
    """What most raters chose, blind repeats not counted twice; None where votes are even, or there are none."""
    votes = [j for j in judged.judgments if not j.repeat]
    share = sum({"first": 1.0, "tie": 0.5, "second": 0.0}[v.choice] for v in votes) / len(votes) if votes else 0.5
    if share == 0.5:
        return None
    comparison = judged.comparison
    texts = (comparison.first, comparison.second) if share > 0.5 else (comparison.second, comparison.first)
    group = comparison.group or str(comparison.prompt.meta.get("group") or "")
    return Preferred(comparison.prompt.messages, *texts, max(share, 1 - share), len(votes), group, comparison.group)


def _trl(pair: Preferred) -> dict[str, Any] | None:
    """Prompt and answers as text: of one-turn prompts only."""
    if len(pair.prompt) != 1:
        return None
    return {"prompt": pair.prompt[0].content, "chosen": pair.chosen, "rejected": pair.rejected, **_beside(pair)}


def _trl_conversational(pair: Preferred) -> dict[str, Any]:
    prompt = [{"role": m.role, "content": m.content} for m in pair.prompt]
    sides = {
        side: [{"role": "assistant", "content": text}] for side, text in (("chosen", pair.chosen), ("rejected", pair.rejected))
    }
    return {"prompt": prompt, **sides, **_beside(pair)}


def _hh_rlhf(pair: Preferred) -> dict[str, Any] | None:
    """Whole transcripts: of conversations without a system turn, for which the format has no place."""
    if any(m.role == "system" for m in pair.prompt):
        return None
    before = "".join(f"\n\n{SPEAKERS[m.role]}: {m.content}" for m in pair.prompt) + "\n\nAssistant: "
    return {"chosen": before + pair.chosen, "rejected": before + pair.rejected}


def _beside(pair: Preferred) -> dict[str, Any]:
    names = {"group": pair.group or None, "ranking": pair.ranking or None}
    return {"label": pair.label, "judgments": pair.judgments, **names}


_ROWS: dict[str, Callable[[Preferred], dict[str, Any] | None]] = {
    "trl": _trl,
    "trl_conversational": _trl_conversational,
    "hh_rlhf": _hh_rlhf,
}


class PairWriter:
    """Writes one format into `pairs/` as judged comparisons come. `counts`: what was written, and what the format cannot hold."""

    def __init__(self, folder: Path, name: PairFormat) -> None:
        self.name = name
        self.counts = {"written": 0, "even": 0, "no_place": 0}
        (folder / "pairs").mkdir(exist_ok=True)
        files = ("comparisons", "judgments") if name == "jsonl" else (name,)
        self._files = [(folder / "pairs" / f"{file}.jsonl").open("w", encoding="utf-8") for file in files]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for file in self._files:
            close_synced(file)

    def add(self, judged: Judged) -> None:
        """Append a comparison, or count why not."""
        if self.name == "jsonl":
            self.counts["written"] += 1
            self._files[0].write(judged.comparison.model_dump_json() + "\n")
            self._files[1].writelines(j.model_dump_json() + "\n" for j in judged.judgments)
            return
        pair = preferred(judged)
        row = _ROWS[self.name](pair) if pair else None
        self.counts["even" if pair is None else "no_place" if row is None else "written"] += 1
        if row is not None:
            self._files[0].write(json.dumps(row, ensure_ascii=False) + "\n")


assert {*_ROWS, "jsonl"} == set(get_args(PairFormat))
