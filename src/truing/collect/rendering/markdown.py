"""Markdown that a model or a rater wrote, as HTML that runs nothing, loads nothing and hides nothing.

markdown-it-py parses it with HTML off; what it makes passes an allow-list (nh3). On the way, all that Markdown would leave
out is shown: addresses and titles of links and images, definitions of references, the words after a code fence, table cells
beyond the header's. Where a text is nested too deeply, or is too long, to be laid out, it is shown as it was written, and the
page says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block.table import escapedSplit
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from truing.collect.rendering.maths import keep_maths
from truing.collect.rendering.visible import visible

MOST_CHARACTERS = 100_000
"""Longer texts are shown as they were written."""
DEEPEST = 40
"""Levels of nesting; the parser drops what lies below."""
LIVE_SCHEMES = {"http", "https"}

_TAGS = set("p br hr h1 h2 h3 h4 h5 h6 blockquote ul ol li strong em s code pre table thead tbody tr th td div span a".split())
_CLASSES = {
    "span": {"hidden-char", "lookalike", "target", "maths", "code-info"},
    "div": {"scroll", "maths", "as-written"},
    "p": {"as-written-note"},
    **{tag: {"number"} for tag in ("th", "td")},
}
_ATTRIBUTES: dict[str, set[str]] = {
    "span": {"title"},
    "ol": {"start"},
    "div": {"tabindex", "role", "aria-label"},
    "a": {"href"},
}


class Prepared(NamedTuple):
    """A parsed text, or why it cannot be laid out."""

    tokens: Sequence[Token]
    obstacle: str = ""


def render(text: str, *, live_links: bool = False) -> Markup:
    """`text` as safe HTML.

    Links are inert, with their address in sight; `live_links` (guidelines that a lead wrote, never a model's answer) makes
    those to http and https followable.
    """
    prepared = _prepare(text)
    if prepared.obstacle:
        return _as_written(text, prepared.obstacle)
    parser = _parser(live_links)
    html = parser.renderer.render(prepared.tokens, parser.options, {})
    return Markup(  # noqa: S704 - nh3 sanitised it
        nh3.clean(
            html,
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            allowed_classes=_CLASSES,
            url_schemes=LIVE_SCHEMES,
            link_rel="noreferrer noopener nofollow",
        )
    )


def _prepare(text: str) -> Prepared:
    if len(text) > MOST_CHARACTERS:
        return Prepared((), f"longer than {MOST_CHARACTERS:,} characters")
    parser = _parser(False)
    tokens = parser.parse(text)
    if any(token.level >= DEEPEST - 1 for token in tokens):
        return Prepared((), "nested too deeply")
    if _has_lost_cells(tokens, text):
        parser = _parser(False, tables=False)
        tokens = parser.parse(text)
    return Prepared(tokens)


def _as_written(text: str, why: str) -> Markup:
    return Markup('<p class="as-written-note">Shown as it was written: {}.</p><div class="as-written">{}</div>').format(
        why, visible(text)
    )


def _has_lost_cells(tokens: Sequence[Token], text: str) -> bool:
    """Whether a table's row has more cells than its header: Markdown drops them."""
    lines: list[str] | None = None
    width = 0
    for token in tokens:
        if token.type == "thead_open":
            width = 0
        elif token.type == "th_open":
            width += 1
        elif token.type == "tr_open" and width and token.map:
            lines = lines if lines is not None else text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            if len(escapedSplit(lines[token.map[0]].strip().strip("|"))) > width:
                return True
    return False


@cache
def _parser(live_links: bool, *, tables: bool = True) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": DEEPEST}, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"] if tables else ["strikethrough"])
    parser.disable(["reference", "html_block", "html_inline"])
    keep_maths(parser)
    parser.options["live_links"] = live_links
    return parser


class _Renderer(RendererHTML):
    """HTML of the tokens, with their text made visible and nothing left in attributes that a reader could not see."""

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return visible(tokens[idx].content)

    def text_special(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return visible(tokens[idx].content)

    def softbreak(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "<br>\n"
