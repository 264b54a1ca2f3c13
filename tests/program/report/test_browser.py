"""The page in a real browser: no request, no console message, nothing wider than a phone, readable in light and dark."""

from __future__ import annotations

import pytest

from truing.program.report.build import build

CONTRAST = """() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!c.endsWith(', 0)')) return c; } return 'rgb(255, 255, 255)'; };
  const worst = {};
  const read = 'p, li, th, td, dt, dd, h1, h2, h3, figcaption, summary, small, a, .chip, .diff span, text';
  for (const e of document.querySelectorAll(read)) {
    if (!e.textContent.trim()) continue;
    const style = getComputedStyle(e), ink = e.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) worst[e.tagName + '.' + (e.className.baseVal ?? e.className)] = ratio;
  }
  return worst;
}"""


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_the_page_in_a_browser(chromium, run_root, scheme, width):
    page_path = build(run_root)
    requests, messages = [], []
    with chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.goto(page_path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
        assert page.evaluate(CONTRAST) == {}
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontFamily").startswith("Charter"), (
            "the style was refused"
        )
    assert messages == []
    assert [url for url in requests if url != page_path.as_uri() and not url.startswith("data:")] == []
