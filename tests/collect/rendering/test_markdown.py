"""Rendered Markdown runs nothing, loads nothing, hides nothing, and takes little time."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collect.rendering.corpus import BOMBS, TEXTS

from truing.collect.rendering.markdown import MOST_CHARACTERS, render

ELEMENTS = set("p br hr h2 h3 h4 h5 h6 blockquote ul ol li strong em s code pre table thead tbody tr th td div span".split())
ATTRIBUTES = {"class", "title", "start", "tabindex", "role", "aria-label"}


class Page(HTMLParser):
    """The elements, attributes and text of a piece of HTML."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.attributes, self.words = set(), set(), ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.words += "\n" if tag in {"p", "br", "li", "td", "th", "div"} else ""

    def handle_data(self, data):
        self.words += data

    def unknown_decl(self, data):
        raise AssertionError(data)

    handle_comment = handle_decl = handle_pi = unknown_decl


@pytest.mark.parametrize("text", TEXTS)
def test_only_plain_elements_come_out(text):
    page = Page(render(text))
    assert page.elements <= ELEMENTS
    assert page.attributes <= ATTRIBUTES


@pytest.mark.parametrize("text", TEXTS)
def test_every_word_that_went_in_can_be_read(text):
    shown = Page(render(text)).words.casefold()
    hidden_as_entities = re.sub(r"&#?\w+;", " ", text)
    for word in re.findall(r"[a-z]{2,}", re.sub(r"%\w\w", " ", hidden_as_entities).casefold()):
        assert word in shown, word


@given(st.text(alphabet="abc *_`~[]()<>!#|-+=>:\"'\\$\n\t1.", max_size=80))
def test_no_letter_is_lost_whatever_the_markdown(text):
    shown = Page(render(text)).words
    letters = iter(re.sub(r"[^abc]", "", shown))
    assert all(letter in letters for letter in re.sub(r"[^abc]", "", text))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_shown_and_does_not_go_off(name):
    start = time.perf_counter()
    html = render(BOMBS[name])
    assert time.perf_counter() - start < 10
    assert name in html


def test_what_cannot_be_laid_out_says_so():
    assert "because it is nested too deeply" in render(BOMBS["quotes"])
    assert "because it is longer than 50,000 characters" in render("a" * (MOST_CHARACTERS + 1))
    assert "because it has more than 5,000 brackets" in render(BOMBS["brackets"])
    assert "Nothing was written." in render(" \n")


def test_ordinary_markdown_is_laid_out():
    assert render("*a* **b** `c` ~~d~~") == "<p><em>a</em> <strong>b</strong> <code>c</code> <s>d</s></p>\n"
    assert render("one\ntwo") == "<p>one<br>\ntwo</p>\n"
    assert render("3. c\n4. d") == '<ol start="3">\n<li>c</li>\n<li>d</li>\n</ol>\n'


def test_a_table_has_its_numbers_at_the_right_and_scrolls_by_keyboard():
    html = render("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert '<div class="scroll" tabindex="0" role="group" aria-label="Table">' in html
    assert '<th>a</th>\n<th class="number">b</th>' in html


def test_a_table_that_would_lose_cells_stays_text():
    html = render("| a |\n|---|\n| 1 | lost |")
    assert "<table>" not in html
    assert "lost" in html


def test_headings_continue_the_outline_of_the_page():
    assert re.findall(r"<(h\d)>", render("# a\n\n#### b\n\n###### c\n\n# d")) == ["h3", "h4", "h5", "h3"]
    assert re.findall(r"<(h\d)>", render("## a", under=4)) == ["h5"]


def test_links_of_answers_are_text_with_their_address():
    assert render('[words](https://site.example/a "title")') == (
        '<p>words <span class="target">⟨https://site.example/a "title"⟩</span></p>\n'
    )
    assert render("<https://site.example>") == "<p>https://site.example</p>\n"


def test_an_imitated_host_is_shown_as_it_is_looked_up():
    assert "xn--pypal-4ve.com" in render("[bank](https://p\u0430ypal.com/login)")


def test_links_of_guidelines_can_be_followed_but_only_to_the_web():
    assert render("[words](https://site.example/)", live_links=True) == (
        '<p><a href="https://site.example/" rel="noreferrer noopener nofollow">words</a> '
        '<span class="target">⟨https://site.example/⟩</span></p>\n'
    )
    assert "<a" not in render("[words](mailto:a@site.example) [x](//host/) [y](ftp://host/)", live_links=True)


def test_images_are_words():
    assert render('![a view](https://site.example/a.png "title")') == (
        '<p><span class="target">⟨image: a view, https://site.example/a.png "title"⟩</span></p>\n'
    )


def test_maths_is_left_as_it_was_written():
    for text in ("$a_1 * b_1 * c$", r"\(x_1 * x_2\)", "$$a_1 * b * c$$", r"\[ a_1_ \]"):
        assert text in render(f"so {text} holds")
    assert render("$$\na\n+ b\n$$") == '<div class="maths">$$\na\n+ b\n$$</div>\n'
    assert "<em>" in render("$5 and *this* is $10")
