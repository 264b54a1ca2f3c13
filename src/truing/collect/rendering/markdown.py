"""Markdown that a model or a rater wrote, as HTML that runs nothing, loads nothing and hides nothing.

markdown-it-py parses it with HTML off; what that makes passes an allow-list (nh3). On the way, all that Markdown would leave
out is shown: addresses and titles of links and images, definitions of references, the words after a code fence, table cells
beyond the header's. A text that is nested too deeply or is too long to be laid out is shown as it was written, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_block.table import escapedSplit
from markdown_it.token import Token
from markupsafe import Markup

from truing.collect.rendering.html import Html
from truing.collect.rendering.maths import keep_maths
from truing.collect.rendering.visible import visible

MOST_CHARACTERS = 50_000
"""Longer texts are shown as they were written."""
MOST_BRACKETS = 5_000
"""Opening brackets: the parser looks from each for where its link might end."""
DEEPEST = 40
"""Levels of nesting, two for each list; the parser drops what lies below."""

_TAGS = set("p br hr h2 h3 h4 h5 h6 blockquote ul ol li strong em s code pre table thead tbody tr th td div span a".split())
_ATTRIBUTES: dict[str, set[str]] = {
    "span": {"title"},
    "ol": {"start"},
    "div": {"tabindex", "role", "aria-label"},
    "a": {"href"},
}
_CLASSES = {
    "span": {"hidden-char", "lookalike", "target", "maths"},
    "div": {"scroll", "maths", "code-info"},
    "th": {"number"},
    "td": {"number"},
}
_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    allowed_classes=_CLASSES,
    url_schemes={"http", "https"},
    link_rel="noreferrer noopener nofollow",
)


def render(text: str, *, under: int = 2, live_links: bool = False) -> Markup:
    """`text` as safe HTML, its headings continuing the page's outline below a heading of level `under`.

    Links are inert, with their address in sight; `live_links` (for guidelines, never for a model's answer) makes those to http
    and https followable.
    """
    if not text.strip():
        return _note("Nothing was written.")
    if len(text) > MOST_CHARACTERS:
        return _as_written(text, f"it is longer than {MOST_CHARACTERS:,} characters")
    if text.count("[") > MOST_BRACKETS:
        return _as_written(text, f"it has more than {MOST_BRACKETS:,} brackets")
    tokens = _parse(text)
    if any(token.level >= DEEPEST - 1 for token in tokens):
        return _as_written(text, "it is nested too deeply")
    _outline(tokens, under)
    parser = _parser()
    html = parser.renderer.render(tokens, parser.options, {"live_links": live_links})
    return Markup(_CLEANER.clean(html))  # noqa: S704 - sanitised here


def _parse(text: str) -> list[Token]:
    tokens = _parser().parse(text)
    return _parser(tables=False).parse(text) if _loses_cells(tokens, text) else tokens


@cache
def _parser(*, tables: bool = True) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": DEEPEST}, renderer_cls=Html)
    parser.enable(["table", "strikethrough"] if tables else ["strikethrough"])
    parser.disable(["reference", "html_block", "html_inline"])
    keep_maths(parser)
    return parser


def _loses_cells(tokens: Sequence[Token], text: str) -> bool:
    """Whether a table's row has more cells than its header: Markdown drops them."""
    lines: list[str] = []
    width = 0
    for token in tokens:
        if token.type == "thead_open":
            width = 0
        elif token.type == "th_open":
            width += 1
        elif token.type == "tr_open" and width and token.map:
            lines = lines or text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            if _cells(lines[token.map[0]]) > width:
                return True
    return False


def _cells(line: str) -> int:
    """Cells of a table's row, without the empty ones that its outer bars make. A quoted or indented row may count one more,
    which only means that its table is shown as text.
    """
    cells = escapedSplit(line.strip())
    return len(cells) - (not cells[0]) - (len(cells) > 1 and not cells[-1].strip())


def _outline(tokens: Sequence[Token], under: int) -> None:
    """Headings go down one level at a time, from the page's own."""
    above = under
    for token in tokens:
        if token.type == "heading_open":
            above = min(under + int(token.tag[1]), above + 1, 6)
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{above}"


def _as_written(text: str, why: str) -> Markup:
    return _note(f"Shown as it was written, because {why}.") + Markup('<div class="as-written">{}</div>').format(visible(text))


def _note(text: str) -> Markup:
    return Markup('<p class="rendering-note">{}</p>').format(text)
