"""The HTML of Markdown's tokens, with nothing left in attributes or outside them that a reader could not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from truing.collect.rendering.visible import visible

LIVE_SCHEMES = {"http", "https"}
Tokens = Sequence[Token]


class Html(RendererHTML):
    """markdown-it-py's own renderer, but for the tokens in `_ELEMENTS` and for links."""

    def __init__(self, parser: Any = None) -> None:
        super().__init__(parser)
        rules: dict[str, Any] = {**self.rules, **{kind: _of_one(make) for kind, make in _ELEMENTS.items()}}
        rules |= {"link_open": _link_open, "link_close": _link_close}
        self.rules = rules


def _of_one(make: Callable[[Token], str]) -> Callable[..., str]:
    return lambda tokens, idx, *_: make(tokens[idx])


def _code(token: Token) -> Markup:
    return Markup("<code>{}</code>").format(visible(token.content, most_spaces=0))


def _code_block(token: Token) -> Markup:
    return Markup("<pre>{}</pre>\n").format(_code(token))


def _fence(token: Token) -> Markup:
    """Code below the words that follow its fence."""
    info = token.info.strip()
    label = Markup('<div class="code-info">{}</div>').format(visible(info)) if info else Markup()
    return label + _code_block(token)


def _image(token: Token) -> Markup:
    """An image is never loaded: what it says of itself, and where it lies."""
    parts = [f"image: {token.content}" if token.content else "image", _address(token, "src")]
    return Markup('<span class="target">⟨{}⟩</span>').format(visible(", ".join(parts)))


def _cell(token: Token) -> str:
    """A style attribute would be refused by the content security policy; only alignment to the right is kept, as a class."""
    return f'<{token.tag} class="number">' if token.attrGet("style") == "text-align:right" else f"<{token.tag}>"


_ELEMENTS: dict[str, Callable[[Token], str]] = {
    "text": lambda token: visible(token.content),
    "code_inline": _code,
    "code_block": _code_block,
    "fence": _fence,
    "maths_inline": lambda token: Markup('<span class="maths">{}</span>').format(visible(token.content)),
    "maths_block": lambda token: Markup('<div class="maths">{}</div>\n').format(visible(token.content)),
    "image": _image,
    # A wide table scrolls in a region of its own, which the keyboard reaches.
    "table_open": lambda _: '<div class="scroll" tabindex="0" role="group" aria-label="Table">\n<table>\n',
    "table_close": lambda _: "</table>\n</div>\n",
    "th_open": _cell,
    "td_open": _cell,
}


def _link_open(tokens: Tokens, idx: int, _options: object, env: Mapping[str, Any]) -> str:
    """Only a live link is an element."""
    href = str(tokens[idx].attrGet("href"))
    return Markup('<a href="{}">').format(href) if _is_live(href, env) else ""


def _link_close(tokens: Tokens, idx: int, _options: object, env: Mapping[str, Any]) -> str:
    """The address, in sight, unless it is what the link says."""
    start = next(i for i in range(idx, -1, -1) if tokens[i].type == "link_open")
    said = "".join(token.content for token in tokens[start:idx])
    address = _address(tokens[start], "href")
    end = Markup("</a>") if _is_live(str(tokens[start].attrGet("href")), env) else Markup()
    return end if address == said else end + Markup(' <span class="target">⟨{}⟩</span>').format(visible(address))


def _address(token: Token, attribute: str) -> str:
    title = token.attrGet("title")
    return f'{token.attrGet(attribute)} "{title}"' if title else str(token.attrGet(attribute))


def _is_live(href: str, env: Mapping[str, Any]) -> bool:
    return bool(env.get("live_links")) and urlsplit(href).scheme in LIVE_SCHEMES
