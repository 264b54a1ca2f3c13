"""What stands in docs/ is what the code says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MADE = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
GUIDES = sorted(ROOT.glob("docs/guide/*.md"))
LARGEST_PICTURE_BYTES = 120_000
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("name", sorted(MADE))
def test_generated_pages_are_current(name):
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == MADE[name], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.name)
def test_pictures_of_guides_are_described_and_small(page):
    text = page.read_text(encoding="utf-8")
    assert all(len(alt) > 20 for alt in re.findall(r"!\[([^\]]*)\]", text))
    assert text.count("<img ") == len(re.findall(r'<img alt="[^"]{20,}" src="', text))
    for target in re.findall(r'!\[[^\]]*\]\(([^)]+)\)|src(?:set)?="([^"]+)"', text):
        assert (page.parent / "".join(target)).stat().st_size < LARGEST_PICTURE_BYTES, target


@pytest.mark.slow
@pytest.mark.browser
def test_pictures_of_the_collection_service_can_be_taken(tmp_path):
    from docs import collect_pictures

    try:
        collect_pictures.main(tmp_path)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    taken = {path.name for path in tmp_path.glob("*.png") if path.stat().st_size < LARGEST_PICTURE_BYTES}
    assert taken == {"rating.png", "rating-dark.png", "dashboard.png", "campaign-form.png"}


def test_every_dependency_is_explained():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    explained = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for requirement in listed:
        name = re.split(r"[><=~\[ ]", requirement)[0]
        assert f"`{name}`" in explained, f"docs/dependencies.md says nothing about {name}"


def test_every_dependency_is_pinned():
    """All but vLLM, which pins older versions of some than the suite runs on: it is tested from an environment of its own."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    listed = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    assert {re.split(r"[><=~\[ ]", requirement)[0].lower() for requirement in listed} - {"vllm"} <= pinned


def test_commands_in_the_readme_exist():
    from truing.cli.app import VERBS

    verbs = {name for name, _ in VERBS} | {"collect"}
    for page in PAGES:
        for verb in re.findall(r"^\s*\.?(?:venv/bin/)?truing ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert verb in verbs, f"{page.name}: truing {verb}"


def test_make_targets_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_format_that_is_listed_has_a_fixture():
    page = (ROOT / "docs" / "guide" / "exchange.md").read_text(encoding="utf-8")
    table = page.partition("<!-- formats")[2].partition("<!-- /formats")[0]
    listed = re.findall(r"^\| `([a-z0-9_]+)` \|", table, re.MULTILINE)
    fixtures = {path.stem for path in (ROOT / "tests" / "collect" / "exchange" / "fixtures").iterdir()}
    assert set(listed) == fixtures
    assert len(listed) >= 10
