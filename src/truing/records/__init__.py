"""The vocabulary: frozen, typed, torch-free records that stages hand each other on disk."""

from truing.records.base import Record, canonical_json, content_hash
from truing.records.comparison import Choice, Comparison, Judgment, PreferencePair, Side
from truing.records.conversation import Demonstration, Message, Prompt, Role
from truing.records.estimate import Estimate
from truing.records.finding import Attempt, Finding
from truing.records.guideline import Clause, Guideline
from truing.records.manifest import FileEntry, Manifest
from truing.records.progress import NullProgress, Progress
from truing.records.rollout import Alarm, Ending, Rollout, SampledCompletion
from truing.records.seeds import seed_for

__all__ = [
    "Alarm",
    "Attempt",
    "Choice",
    "Clause",
    "Comparison",
    "Demonstration",
    "Ending",
    "Estimate",
    "FileEntry",
    "Finding",
    "Guideline",
    "Judgment",
    "Manifest",
    "Message",
    "NullProgress",
    "PreferencePair",
    "Progress",
    "Prompt",
    "Record",
    "Role",
    "Rollout",
    "SampledCompletion",
    "Side",
    "canonical_json",
    "content_hash",
    "seed_for",
]
