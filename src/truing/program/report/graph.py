"""The run's lineage as a picture: stages from left to right, rounds from top to bottom, an edge from each parent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from truing.program.report.model import ArtifactNode

_COLUMNS = (
    ("sft",),
    ("comparisons",),
    ("selection",),
    ("preferences",),
    ("reward",),
    ("ppo", "grpo", "rloo", "dpo", "reward_tests"),
    ("evaluate", "redteam"),
    ("findings", "sign_off"),
    ("gate",),
    ("release",),
)
_INITIALS = {"sft", "ppo", "grpo", "rloo", "dpo"}
_STAGES = {stage for stages in _COLUMNS for stage in stages}
_ROUND = re.compile(r"round-(\d+)/")
NODE_WIDTH, NODE_HEIGHT, STEP, LANE, BAND, TOP = 94, 32, 118, 44, 172, 26


@dataclass
class Box:
    """One or several artifacts of one stage and round (the red team on every policy is one box), placed in pixels."""

    stage: str
    round: int
    x: int
    y: int
    hashes: list[str] = field(default_factory=list)
    parents: set[str] = field(default_factory=set)

    @property
    def key(self) -> tuple[str, int]:
        """What tells boxes apart."""
        return self.stage, self.round

    @property
    def label(self) -> str:
        """What stands in the box."""
        name = self.stage.upper() if self.stage in _INITIALS else self.stage.replace("_", " ").replace("redteam", "red team")
        count = f" ×{len(self.hashes)}" if len(self.hashes) > 1 else ""
        return name + count


Edge = tuple[Box, Box]
"""(parent, child)."""


def round_of(name: str) -> int:
    """The round an artifact belongs to by its name; 0 = none (SFT, release)."""
    match = _ROUND.match(name)
    return int(match[1]) if match else 0


def _places(stages: set[str]) -> dict[str, tuple[int, int]]:
    """Stage -> (column, lane); a column of which no stage was run takes no room."""
    used = [[stage for stage in column if stage in stages] for column in _COLUMNS]
    columns = [column for column in used if column]
    return {stage: (index, lane) for index, column in enumerate(columns) for lane, stage in enumerate(column)}


def boxes(nodes: Sequence[ArtifactNode]) -> list[Box]:
    """Place every artifact whose stage is known; what is of no round stands beside the first round, a release beside the last."""
    rounds = sorted({round_of(n.name) for n in nodes} - {0}) or [1]
    place = _places({n.stage for n in nodes})
    placed: dict[tuple[str, int], Box] = {}
    for node in nodes:
        if node.stage not in _STAGES:
            continue
        number = round_of(node.name) or (rounds[-1] if node.stage == "release" else rounds[0])
        column, lane = place[node.stage]
        top = TOP + rounds.index(number) * BAND + lane * LANE
        box = placed.setdefault((node.stage, number), Box(node.stage, number, column * STEP, top))
        box.hashes.append(node.artifact_hash)
        box.parents.update(node.parents.values())
    return list(placed.values())


def essential(edges: Sequence[Edge]) -> list[Edge]:
    """The edges that no longer way round already implies (the transitive reduction of a graph without cycles)."""
    children: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for parent, child in edges:
        children.setdefault(parent.key, set()).add(child.key)
    return [(a, b) for a, b in edges if not any(_reaches(other, b.key, children) for other in children[a.key] - {b.key})]


def _reaches(start: tuple[str, int], end: tuple[str, int], children: dict[tuple[str, int], set[tuple[str, int]]]) -> bool:
    seen, queue = {start}, [start]
    while queue:
        for child in children.get(queue.pop(), set()) - seen:
            seen.add(child)
            queue.append(child)
    return end in seen


def lineage_graph(nodes: Sequence[ArtifactNode]) -> Markup:
    """The graph as one SVG of fixed size, for a box that scrolls sideways. Empty where nothing can be placed."""
    placed = boxes(nodes)
    if not placed:
        return Markup("")
    owner: dict[str, Box] = {}
    for box in placed:  # the same work in two rounds is one artifact: it belongs where it was first made
        for digest in box.hashes:
            owner.setdefault(digest, box)
    pairs = [(owner[p], box) for box in placed for p in sorted(box.parents) if p in owner and owner[p] is not box]
    edges = essential(list({(a.key, b.key): (a, b) for a, b in pairs}.values()))
    width = max(b.x for b in placed) + NODE_WIDTH
    height = max(b.y for b in placed) + NODE_HEIGHT + 8
    words = "; ".join(f"{b.label} (round {b.round}) from {a.label} (round {a.round})" for a, b in edges)
    body = Markup("").join([*_bands(placed), *(_edge(a, b) for a, b in edges), *(_node(b) for b in placed)])
    return Markup(
        '<svg class="lineage" role="img" aria-labelledby="lineage-t lineage-d" width="{w}" height="{h}" viewBox="-2 0 {vw} {h}">'
        '<title id="lineage-t">Lineage</title><desc id="lineage-d">{words}</desc>{body}</svg>'
    ).format(w=width + 4, vw=width + 4, h=height, words=words, body=body)


def _bands(placed: Sequence[Box]) -> list[Markup]:
    rounds = sorted({b.round for b in placed})
    return [
        Markup('<text class="label" x="0" y="{}">Round {}</text>').format(TOP - 10 + i * BAND, r) for i, r in enumerate(rounds)
    ]


def _node(box: Box) -> Markup:
    return Markup(
        '<g class="node s-{stage}"><rect x="{x}" y="{y}" width="{w}" height="{h}" rx="5"/>'
        '<text class="middle" x="{cx}" y="{cy}">{label}</text><title>{tip}</title></g>'
    ).format(
        stage=box.stage,
        x=box.x,
        y=box.y,
        w=NODE_WIDTH,
        h=NODE_HEIGHT,
        cx=box.x + NODE_WIDTH // 2,
        cy=box.y + NODE_HEIGHT // 2 + 4,
        label=box.label,
        tip=", ".join(digest[:12] for digest in box.hashes),
    )


def _edge(parent: Box, child: Box) -> Markup:
    if parent.x < child.x:
        x1, y1 = parent.x + NODE_WIDTH, parent.y + NODE_HEIGHT // 2
        x2, y2 = child.x, child.y + NODE_HEIGHT // 2
        bend = (x2 - x1) // 2
        path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    else:  # what one round found goes back to the start of the next: below this round's boxes, above the next one's
        x1, y1 = parent.x + NODE_WIDTH // 2, parent.y + NODE_HEIGHT
        x2, y2 = child.x + NODE_WIDTH // 2, child.y
        turn = y2 - 18 if y2 > y1 else y1 + 18
        path = f"M{x1} {y1}V{turn - 8}Q{x1} {turn} {x1 - 8} {turn}H{x2 + 8}Q{x2} {turn} {x2} {turn + 8}V{y2}"
    return Markup('<path class="{}" d="{}"/>').format("edge next-round" if child.round > parent.round else "edge", path)
