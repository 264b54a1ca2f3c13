"""What every request passes on its way in and every answer on its way out: address, size, headers, and who may make changes."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from truing.collect.accounts.secret import csrf_token, new_secret
from truing.collect.config import ServiceConfig
from truing.collect.errors import NotAllowedError, ServiceError, TooLargeError
from truing.collect.web import service_of

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
"""Nothing inline, nothing from elsewhere: text that slipped through escaping could not run or call home."""
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
UPLOADS = re.compile(r"/api/v1/campaigns/\d+/(comparisons|imports|items)$|/lead/campaigns(/\d+/items)?$")
"""Where files are sent to; their routes are `uploads.upload_route`s."""
CHANGES_NOTHING = {"GET", "HEAD", "OPTIONS"}
VISITOR_S = 3600


async def check_csrf(request: Request) -> None:
    """Refuse a change that no page of the service asked for. A bearer token is proof itself: no browser sends it unasked.

    Forms send `csrf`, scripts the header `X-CSRF-Token`. Raises NotAllowedError.
    """
    service = service_of(request)
    cookies = request.cookies
    cookie = cookies.get(service.session_cookie) or cookies.get(service.visitor_cookie)
    if not cookie:
        request.state.visitor = new_secret()
    if request.method in CHANGES_NOTHING or request.headers.get("authorization", "").lower().startswith("bearer "):
        return
    sent = request.headers.get("x-csrf-token") or await _form_token(request)
    if not cookie or not hmac.compare_digest(sent.encode(), csrf_token(cookie).encode()):
        raise NotAllowedError("this page is out of date. Load it again and repeat what you did; what you wrote stays in it.")


async def _form_token(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        return ""
    return str((await request.form()).get("csrf", ""))


class Guard:
    """ASGI middleware: no NUL in an address, bodies of a size at most, security headers on everything, a visitor's cookie where a
    page needs one.
    """

    def __init__(self, app: ASGIApp, config: ServiceConfig, visitor_cookie: str) -> None:
        self._app = app
        self._config = config
        self._visitor_cookie = visitor_cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._config.max_upload_bytes if UPLOADS.match(scope["path"]) else self._config.max_body_bytes

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(scope, MutableHeaders(scope=message))
            await send(message)

        scope.setdefault("state", {})
        if "\0" in scope["path"] or b"%00" in scope["query_string"] or b"\0" in scope["query_string"]:
            await problem(ServiceError("an address has no NUL characters (%00)"))(scope, receive, send_guarded)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            await too_large(limit)(scope, receive, send_guarded)
            return
        await self._app(scope, _limited(receive, limit), send_guarded)

    def _add_headers(self, scope: Scope, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        if not scope["path"].startswith("/static/"):
            headers.setdefault("Cache-Control", "no-store")
        if self._config.is_secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        visitor = scope.get("state", {}).get("visitor")
        if visitor and "html" in headers.get("content-type", ""):
            secure = "; Secure" if self._config.is_secure else ""
            cookie = f"{self._visitor_cookie}={visitor}; Path=/; Max-Age={VISITOR_S}; HttpOnly; SameSite=Lax{secure}"
            headers.append("Set-Cookie", cookie)


def too_large(limit: int) -> JSONResponse:
    """The answer to a body beyond the limit."""
    error = TooLargeError(f"this is larger than the {limit >> 10} KiB that are taken at once. Send it in parts.")
    return problem(error)


def problem(error: ServiceError) -> JSONResponse:
    """An error as programs read it."""
    return JSONResponse({"error": {"code": error.code, "message": str(error)}}, error.status)


def _limited(receive: Receive, limit: int) -> Receive:
    """The same body, which fails once it is longer than it may be (chunked bodies declare no length)."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise TooLargeError(f"this is larger than the {limit >> 10} KiB that are taken at once. Send it in parts.")
        return message

    return receive_limited
