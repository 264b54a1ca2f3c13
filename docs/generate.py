"""Write what is read off the code: the recipe's reference, the command line's, the report's schema.

    make docs

A test fails where what would be written here is not what stands in docs/.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from truing.config import Config
from truing.program.recipe import Recipe
from truing.program.report.model import Report

DOCS = Path(__file__).parent


def pages() -> dict[str, str]:
    """File name under docs/ -> its text."""
    return {
        "report.schema.json": json.dumps(Report.model_json_schema(), indent=2) + "\n",
        "recipe.md": recipe_reference(),
        "cli.md": command_reference(),
    }


def recipe_reference() -> str:
    """Every key of a recipe with its default and meaning; tables that several sections have are described once."""
    shared = _shared_tables()
    head = inspect.getdoc(inspect.getmodule(Recipe)) or ""
    parts = ["# Recipe reference\n\nGenerated from the configuration by `make docs`.\n\n" + head]
    for name, field in Recipe.model_fields.items():
        table = _config_in(field.annotation)
        if table is None:
            continue
        parts.append(f"## [{name}]\n\n{_doc(table)}\n\n{_table(table, shared)}")
    parts.append("# Tables that several sections have")
    parts += [f"## {cls.__name__}\n\n{_doc(cls)}\n\n{_table(cls, shared)}" for cls in shared]
    return "\n\n".join(parts) + "\n"


def _shared_tables() -> list[type[Config]]:
    counted = Counter(cls for field in Recipe.model_fields.values() for cls in _nested(_config_in(field.annotation)))
    return sorted((cls for cls, count in counted.items() if count > 1), key=lambda cls: cls.__name__)


def _nested(table: type[Config] | None) -> Iterator[type[Config]]:
    for field in table.model_fields.values() if table else ():
        inner = _config_in(field.annotation)
        if inner is not None:
            yield inner
            yield from _nested(inner)


def _config_in(annotation: Any) -> type[Config] | None:
    """The table that a field holds, or None where it holds a plain value or a list of tables."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Config) else None


def _table(cls: type[Config], shared: list[type[Config]]) -> str:
    rows = [f"| `{key}` | {default} | {kind} | {meaning} |" for key, default, kind, meaning in _rows(cls, shared, "", None)]
    return "\n".join(["| key | default | type | meaning |", "|---|---|---|---|", *rows])


def _rows(
    cls: type[Config], shared: list[type[Config]], prefix: str, given: Config | None
) -> Iterator[tuple[str, str, str, str]]:
    meanings = _docstrings(cls)
    for name, field in cls.model_fields.items():
        default = getattr(given, name) if given is not None else field.get_default(call_default_factory=True)
        meaning = " ".join((field.description or meanings.get(name, "")).split()).replace("|", "\\|")
        inner = _config_in(field.annotation)
        if inner is None:
            yield f"{prefix}{name}", _default(default), _kind(field.annotation), meaning
        elif inner in shared:
            changed = _changes(inner, default)
            words = f"[{inner.__name__}](#{inner.__name__.lower()}){f', with {changed}' if changed else ''}"
            yield f"{prefix}{name}", words, "table", meaning
        else:
            yield from _rows(inner, shared, f"{prefix}{name}.", default)


def _changes(cls: type[Config], value: Config) -> str:
    """The settings in which a shared table's default here departs from the table's own."""
    plain = {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}
    return ", ".join(f"`{name} = {_literal(v)}`" for name, v in value if name in plain and v != plain[name])


def _docstrings(cls: type[BaseModel]) -> dict[str, str]:
    """Field -> the string written under it, also in the classes it inherits from."""
    found: dict[str, str] = {}
    for base in reversed([c for c in cls.__mro__ if issubclass(c, Config) and c is not Config]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, after in zip(body.body, body.body[1:], strict=False):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
                found[field.target.id] = str(after.value.value)
    return found


def _doc(cls: type[Config]) -> str:
    return inspect.getdoc(cls) or ""


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    text = _literal(value)
    return f"`{text}`" if len(text) <= 60 else f"{len(value)} entries"


def _literal(value: Any) -> str:
    if isinstance(value, Path):
        return json.dumps(value.as_posix())
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    return json.dumps(value)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), [a for a in get_args(annotation) if a is not NoneType]
    if origin is Literal:
        return ", ".join(f"`{json.dumps(a)}`" for a in arguments)
    if origin in {Union, UnionType}:
        return " or ".join(_kind(a) for a in arguments)
    if origin in {tuple, list}:
        inner = _kind(next(a for a in arguments if a is not ...))
        return f"list of {inner}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"table ({', '.join(f'`{name}`' for name in annotation.model_fields)})"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    return names.get(annotation, "table")


def command_reference() -> str:
    """`--help` of every verb, as it is printed."""
    from typer.testing import CliRunner

    from truing.cli.app import VERBS, app

    def printed(*arguments: str) -> str:
        shown = CliRunner().invoke(app, [*arguments, "--help"], prog_name="truing", env={"COLUMNS": "100", "NO_COLOR": "1"})
        return "\n".join(line.rstrip() for line in shown.output.strip().splitlines())

    parts = ["# Command line\n\nGenerated from `--help` by `make docs`.", f"```text\n{printed()}\n```"]
    parts += [f"## truing {name}\n\n```text\n{printed(name)}\n```" for name, _ in VERBS]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    for page_name, text in pages().items():
        (DOCS / page_name).write_text(text, encoding="utf-8")
        print(page_name)
