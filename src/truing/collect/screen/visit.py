"""One request of somebody who is signed in, as the rating screen needs it.

The application that hosts the screen's routes signs people in: it puts a callable at `app.state.visit` that returns a `Visit`,
raises NotSignedInError, and refuses a changing request without its CSRF token.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from truing.collect.database import Database


class Visit(Protocol):
    """Who asks, when, and what pages are made with."""

    @property
    def account(self) -> Mapping[Any, Any]:
        """The person's row."""
        ...

    @property
    def database(self) -> Database:
        """The service's database."""
        ...

    @property
    def now(self) -> float:
        """Seconds since 1970 UTC."""
        ...

    @property
    def rng(self) -> random.Random:
        """Draws the sides."""
        ...

    def render(self, template: str, **context: Any) -> str:
        """A part of a page."""
        ...

    def page(self, template: str, **context: Any) -> HTMLResponse:
        """A whole page, with the person's navigation and CSRF token."""
        ...


def _visit(request: Request) -> Visit:
    found: Visit = request.app.state.visit(request)
    return found


Visitor = Annotated[Visit, Depends(_visit)]
