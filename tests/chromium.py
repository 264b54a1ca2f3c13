"""A real browser, for tests and pictures."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, Error, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run")


@contextlib.contextmanager
def running() -> Iterator[Browser]:
    """The Chromium that CHROMIUM names, else one on the path, else playwright's own. Raises FileNotFoundError without any."""
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    with sync_playwright() as engine:
        try:
            browser = engine.chromium.launch(executable_path=program, args=ARGUMENTS)
        except Error as error:
            if program is not None or "Executable doesn't exist" not in error.message:
                raise
            ways = "install chromium or google-chrome, run `playwright install chromium`, or name one with CHROMIUM=/path"
            raise FileNotFoundError(f"no Chromium on this machine: {ways}") from None
        yield browser
        browser.close()
