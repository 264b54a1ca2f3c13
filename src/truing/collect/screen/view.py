"""What a rater is shown of an item, made from what they may know and nothing else.

`Blinded` is all that goes in: it is read from the database without the policies, the item's purpose, its name or where it came
from, and its responses are already in the order of the screen. So no page can tell them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from truing.collect.config import Attribute, CritiqueTask, PairTask, RankingTask, RewriteTask, ScalesTask, Task
from truing.collect.rendering.markdown import render
from truing.records import Clause, Message

SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}
_STEPS = {
    1: ("better",),
    2: ("slightly better", "better"),
    3: ("slightly better", "better", "much better"),
    4: ("negligibly better", "slightly better", "better", "much better"),
}
"""What the steps of a margin are called, from the middle outwards."""


@dataclass(frozen=True)
class Blinded:
    """An item as a rater may know it: the conversation, and the responses by place on the screen."""

    lease_id: str
    messages: tuple[Message, ...]
    responses: tuple[str, ...]


@dataclass(frozen=True)
class Turn:
    """One turn of the conversation before the responses."""

    speaker: str
    is_user: bool
    html: Markup


@dataclass(frozen=True)
class Pane:
    """One response: `label` is what it is called on the screen and in its keys."""

    place: int
    label: str
    html: Markup


@dataclass(frozen=True)
class Step:
    """One position of the pair's scale. `key` is the digit that chooses it, from the left."""

    key: int
    choice: str
    margin: int
    label: str
    spoken: str


@dataclass(frozen=True)
class TaskView:
    """Everything that the templates of the rating screen read."""

    lease_id: str
    turns: tuple[Turn, ...]
    panes: tuple[Pane, ...]
    steps: tuple[Step, ...] = ()
    allows_both_bad: bool = False
    ranking: RankingTask | None = None
    attributes: tuple[Attribute, ...] = ()
    critique: CritiqueTask | None = None
    rewrite: RewriteTask | None = None
    flags: tuple[str, ...] = ()
    clauses: tuple[Clause, ...] = ()
    guideline_hash: str = ""
    draft: dict[str, object] = field(default_factory=dict)
    is_veiled: bool = False
    """Shown blurred until the rater asks to see it."""

    @property
    def has_middle(self) -> bool:
        """Whether the scale has something between left and right."""
        return self.allows_both_bad or any(step.choice == "tie" for step in self.steps)


def task_view(
    blinded: Blinded,
    tasks: Sequence[Task],
    *,
    flags: Sequence[str] = (),
    clauses: Sequence[Clause] = (),
    guideline_hash: str = "",
    draft: Mapping[str, object] | None = None,
    is_veiled: bool = False,
) -> TaskView:
    """The view of one item for a campaign's tasks."""
    by_type = {task.type: task for task in tasks}
    pair, scales = by_type.get("pair"), by_type.get("scales")
    critique, rewrite, ranking = by_type.get("critique"), by_type.get("rewrite"), by_type.get("ranking")
    return TaskView(
        lease_id=blinded.lease_id,
        turns=tuple(Turn(SPEAKERS[m.role], m.role == "user", render(m.content)) for m in blinded.messages),
        panes=panes(blinded.responses),
        steps=scale(pair) if isinstance(pair, PairTask) else (),
        allows_both_bad=isinstance(pair, PairTask) and pair.both_bad,
        ranking=ranking if isinstance(ranking, RankingTask) else None,
        attributes=scales.attributes if isinstance(scales, ScalesTask) else (),
        critique=critique if isinstance(critique, CritiqueTask) else None,
        rewrite=rewrite if isinstance(rewrite, RewriteTask) else None,
        flags=tuple(flags),
        clauses=tuple(clause for clause in clauses if clause.clause_id),
        guideline_hash=guideline_hash,
        draft=dict(draft or {}),
        is_veiled=is_veiled,
    )


def panes(responses: Sequence[str]) -> tuple[Pane, ...]:
    """Two responses are left and right; one has no name to need; more are numbered."""
    names = {1: ("Answer",), 2: ("Left", "Right")}.get(len(responses)) or [f"Answer {i + 1}" for i in range(len(responses))]
    return tuple(Pane(place, label, render(text)) for place, (label, text) in enumerate(zip(names, responses, strict=True)))


def scale(task: PairTask) -> tuple[Step, ...]:
    """The positions of a pair's scale from left to right; its middle, the tie, keeps its key even where no tie is asked for."""
    count = task.steps_each_side
    words = _STEPS[count]
    left = [
        Step(count + 1 - margin, "first", margin, words[margin - 1], f"Left {words[margin - 1]}")
        for margin in range(count, 0, -1)
    ]
    right = [
        Step(count + 1 + margin, "second", margin, words[margin - 1], f"Right {words[margin - 1]}")
        for margin in range(1, count + 1)
    ]
    return (*left, *([Step(count + 1, "tie", 0, "tie", "Tie")] if task.tie else []), *right)


def words_of(name: str) -> str:
    """An attribute's or a flag's name as a person reads it: `not_answerable` is "Not answerable"."""
    return name.replace("_", " ").capitalize()
