"""Take the README's pictures of a report: docs/images/report.png and report-dark.png.

python -m docs.picture runs/quickstart      (from the repository's root; needs the extra `dev` and a Chromium)
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests import chromium

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1160, 1080


def main(run: Path) -> None:
    """Photograph the top of a run's report, light and dark."""
    IMAGES.mkdir(exist_ok=True)
    with chromium.running() as browser:
        for scheme, name in (("light", "report.png"), ("dark", "report-dark.png")):
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.5
            )
            page = context.new_page()
            page.goto((run / "report.html").resolve().as_uri())
            page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
