"""Items as they come in: from a file, a page or a program, all read and checked the same way."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from truing.collect.answers import Answer
from truing.collect.config import CampaignConfig
from truing.collect.errors import ServiceError
from truing.collect.sent import Sent, without_nul
from truing.errors import nearest
from truing.records import Prompt, content_hash


def _prompt(value: Any) -> Any:
    return Prompt.from_text(value) if isinstance(value, str) else value


class NewItem(Sent):
    """A prompt and the responses to it. `policies[i]` wrote `responses[i]`; raters never see who."""

    external_id: str = Field(default="", max_length=200)
    """Empty = made of prompt and responses, so that the same item is not added twice."""
    prompt: Annotated[Prompt, BeforeValidator(_prompt)]
    """Plain text is a prompt of one turn."""
    responses: tuple[str, ...] = Field(default=(), max_length=9)
    """Empty = a worker samples them, where the campaign says from whom."""
    policies: tuple[str, ...] = ()
    purpose: Literal["task", "gold", "calibration"] = "task"
    gold: tuple[Answer, ...] | None = None
    """The known answer, in stored order; gold and calibration items have one."""
    source: str = Field(default="", max_length=200)
    group: str = Field(default="", max_length=200)
    strategy: str = Field(default="", max_length=60)
    propensity: float | None = Field(default=None, gt=0.0, le=1.0)
    meta: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the item is called, within its campaign."""
        return self.external_id or content_hash([self.prompt.prompt_id, self.responses])[:16]


def read_items(lines: bytes, where: str = "") -> list[NewItem]:
    """Items, a JSON object a line; a line that is no JSON is a prompt. Raises ServiceError with the line and the field."""
    numbered = enumerate(lines.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
    return [_read(line.strip(), f"{where}line {number}") for number, line in numbered if line.strip()]


def _read(line: bytes, where: str) -> NewItem:
    try:
        if line.startswith((b"{", b"[")):
            return NewItem.model_validate_json(line)
        return NewItem(prompt=Prompt.from_text(without_nul(line.decode())))
    except UnicodeDecodeError:
        raise ServiceError(f"{where}: this is not UTF-8 text") from None
    except ValidationError as error:
        problem = error.errors()[0]
        raise ServiceError(f"{where}: {_explain(problem)}") from None


def _explain(problem: ErrorDetails) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    if not field:
        return problem["msg"]
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        known = NewItem.model_fields
        return f"unknown field '{field}'{nearest(field, known)} (known here: {', '.join(sorted(known))})"
    return f"field '{field}': {problem['msg']}"


def check_fits(new: NewItem, config: CampaignConfig, number: int) -> None:
    """Raise ServiceError where an item is none that the campaign can ask about."""
    where = f"item {number} ({new.name!r})"
    kinds = {task.type for task in config.tasks}
    if (new.purpose == "task") != (new.gold is None):
        raise ServiceError(f"{where}: gold and calibration items carry the known answer in 'gold', task items do not")
    if not new.responses and (config.sampled is None or new.purpose != "task"):
        raise ServiceError(f"{where}: it has no responses. Add them, or name the policies to sample them from ('sampled').")
    if new.policies and len(new.policies) != len(new.responses):
        raise ServiceError(f"{where}: policies names {len(new.policies)}, but there are {len(new.responses)} responses")
    if not new.responses:
        return
    if "pair" in kinds and len(new.responses) != 2:
        raise ServiceError(f"{where}: this campaign compares pairs, so an item has two responses, not {len(new.responses)}")
    if "ranking" in kinds and len(new.responses) < 2:
        raise ServiceError(f"{where}: this campaign ranks, so an item has two to nine responses")
