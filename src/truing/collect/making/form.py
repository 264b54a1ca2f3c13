"""A campaign's settings as the fields of a web page: the keys of the TOML, written into fields and read back.

What has no field is written as TOML beside them, so that the page can make whatever a file or a program can.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from truing.collect import campaigns
from truing.collect.config import Attribute, CampaignConfig
from truing.collect.errors import ServiceError

PLAIN = ("guideline", "overlap", "max_judgments", "gold_share", "repeat_share")
"""Fields that are a key each; one left empty keeps the preset's value, or the default."""
PAY = ("currency", "hourly", "per_item")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "pair": ("tie", "both_bad"),
    "ranking": ("ties",),
    "scales": (),
    "critique": ("each_response", "is_required"),
    "rewrite": ("is_required",),
}
"""Task types, and their switches."""


def fields(config: CampaignConfig) -> dict[str, Any]:
    """What the page's fields show for these settings."""
    shown: dict[str, Any] = {"preset": config.preset, "flags": ", ".join(config.flags), "source": "stored"}
    shown |= {name: getattr(config, name) for name in PLAIN} | {f"pay.{name}": getattr(config.pay, name) for name in PAY}
    for task in config.tasks:
        shown |= {task.type: "on"} | {f"{task.type}.{name}": getattr(task, name) for name in OPTIONS[task.type]}
        if task.type == "pair":
            shown["pair.steps_each_side"] = task.steps_each_side
        if task.type == "scales":
            shown["scales.attributes"] = "\n".join(_attribute_line(attribute) for attribute in task.attributes)
    return shown


def settings(sent: Mapping[str, str]) -> CampaignConfig:
    """The settings that a page's fields stand for. Raises TruingError in the words that a file or a program gets."""
    values: dict[str, Any] = {"name": sent.get("name", "").strip(), "preset": sent.get("preset", "")}
    values |= {name: sent[name].strip() for name in PLAIN if sent.get(name, "").strip()}
    values |= {"flags": _split(sent.get("flags", "")), "tasks": _tasks(sent, values["preset"])} | _source(sent)
    pay = {name: sent[f"pay.{name}"].strip() for name in PAY if sent.get(f"pay.{name}", "").strip()}
    values |= {"pay": pay} if pay else {}
    further = _further(sent.get("further", ""))
    twice = sorted(values.keys() & further.keys())
    if twice:
        raise ServiceError(f"further settings: {', '.join(twice)}: there is a field for it above; leave it out here")
    return campaigns.resolved({**further, **values}, "campaign")


def _tasks(sent: Mapping[str, str], preset: str) -> list[dict[str, Any]]:
    """The tasks that were chosen; those of the preset come first, in its order."""
    chosen = {name: _task(name, sent) for name in OPTIONS if sent.get(name)}
    first = [task.type for task in campaigns.resolved({"name": "-", "preset": preset}, "campaign").tasks] if preset else []
    return [chosen[name] for name in sorted(chosen, key=lambda name: first.index(name) if name in first else len(first))]


def _task(name: str, sent: Mapping[str, str]) -> dict[str, Any]:
    task: dict[str, Any] = {"type": name} | {option: bool(sent.get(f"{name}.{option}")) for option in OPTIONS[name]}
    if name == "pair":
        task["steps_each_side"] = sent.get("pair.steps_each_side", "")
    if name == "scales":
        task["attributes"] = [_attribute(line) for line in sent.get("scales.attributes", "").splitlines() if line.strip()]
    return task


def _attribute(line: str) -> dict[str, str]:
    """`name, low, high, label of the low end, label of the high end`; what is left out keeps its default."""
    names = ("name", "low", "high", "low_label", "high_label")
    parts = [part.strip() for part in line.split(",", len(names) - 1)]
    return {name: part for name, part in zip(names, parts, strict=False) if part}


def _attribute_line(attribute: Attribute) -> str:
    labels = [attribute.low_label, attribute.high_label] if attribute.low_label or attribute.high_label else []
    return ", ".join([attribute.name, str(attribute.low), str(attribute.high), *labels])


def _source(sent: Mapping[str, str]) -> dict[str, Any]:
    policies = _split(sent.get("policies", ""))
    if sent.get("source") == "live":
        return {"live": {"policies": policies}}
    if sent.get("source") == "sampled":
        return {"sampled": {"policies": policies, "responses": sent.get("responses", "")}}
    return {}


def _split(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _further(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise ServiceError(f"further settings: not valid TOML: {error}") from None
