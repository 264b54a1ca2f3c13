r"""Maths stays text: what stands between TeX's delimiters passes through Markdown untouched.

Else `$a_1 * b_1 * c$` would lose its signs to emphasis, and `\(x\)` its backslashes.
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

INLINE, BLOCK = "maths_inline", "maths_block"
_LONGEST, _MOST_LINES = 500, 40
"""How far a closing delimiter is looked for, in characters and (on lines of its own) lines: many open ones must cost little."""
_INLINE = re.compile(
    r"\$\$(?:[^$]|\\\$){1,N}?\$\$"
    r"|\$(?![\s$])(?:[^$\n]|\n(?!\n)){0,N}?(?<!\s)\$(?!\d)"
    r"|\\\((?:[^\n]|\n(?!\n)){1,N}?\\\)"
    r"|\\\[(?:[^\n]|\n(?!\n)){1,N}?\\\]".replace("N", str(_LONGEST))
)
_CLOSING = {"$$": "$$", "\\[": "\\]"}


def keep_maths(parser: MarkdownIt) -> None:
    """Add the two rules to a parser."""
    parser.inline.ruler.before("escape", INLINE, _inline)
    parser.block.ruler.before("fence", BLOCK, _block, {"alt": ["paragraph", "blockquote", "list"]})


def _inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    found = _INLINE.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        state.push(INLINE, "", 0).content = found[0]
    state.pos = found.end()
    return True


def _block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Lines from one that begins with a display delimiter to the one that ends with its closing."""
    closing = _CLOSING.get(_line(state, first)[:2])
    if closing is None or state.is_code_block(first):
        return False
    end = _closing_line(state, first, last, closing)
    if end is None:
        return False
    if not silent:
        token = state.push(BLOCK, "", 0)
        token.content = "\n".join(_line(state, number) for number in range(first, end + 1))
        token.map = [first, end + 1]
        state.line = end + 1
    return True


def _closing_line(state: StateBlock, first: int, last: int, closing: str) -> int | None:
    for number in range(first, min(last, first + _MOST_LINES)):
        line = _line(state, number).rstrip()
        if not line or state.sCount[number] < state.blkIndent:
            return None
        if line.endswith(closing) and (number > first or len(line) > len(closing) + 1):
            return number
    return None


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]
