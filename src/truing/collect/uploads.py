"""Routes that take large bodies: who asks is found out before any of the body is read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute


def upload_route(authorize: Callable[[Request, Literal["campaigns"]], object]) -> type[APIRoute]:
    """The class of routes that take uploads of whoever may change campaigns; `authorize` raises where somebody may not.

    It comes before everything else of a route: FastAPI reads a JSON body before it asks any dependency, and `check_csrf` a form.
    """

    class UploadRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def authorized(request: Request) -> Response:
                await run_in_threadpool(authorize, request, "campaigns")
                return await handle(request)

            return authorized

    return UploadRoute
