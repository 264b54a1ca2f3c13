"""Take the README's pictures of a report: docs/images/report.png and report-dark.png.

python docs/picture.py runs/quickstart      (needs the extra `browser`, and a Chromium named by CHROMIUM or on the path)
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1160, 1080


def main(run: Path) -> None:
    """Photograph the top of a run's report, light and dark."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        for scheme, name in (("light", "report.png"), ("dark", "report-dark.png")):
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.5
            )
            page = context.new_page()
            page.goto((run / "report.html").resolve().as_uri())
            page.screenshot(path=IMAGES / name)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
