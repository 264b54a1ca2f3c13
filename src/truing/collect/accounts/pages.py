"""Signing in and out, and accepting an invitation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection

from truing.collect.accounts import invites, passwords, roles, sessions
from truing.collect.errors import ServiceError
from truing.collect.web import Form, Service, Serving, public_page

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
def sign_in_page(request: Request, service: Serving, target: Annotated[str, Query(alias="next")] = "/") -> HTMLResponse:
    """The form."""
    return _sign_in_page(request, service, target)


@router.post("/sign-in")
def sign_in(request: Request, service: Serving, form: Form) -> Response:
    """Check name and password. A wrong name and a wrong password get the same answer, in the same time."""
    now, password, target = service.clock(), str(form.get("password", "")), _local(str(form.get("next", "/")))
    try:
        login = roles.normal_login(str(form.get("login", "")))
        address = _address(request)
        config = service.config
        attempt = service.database.write(lambda c: passwords.begin_attempt(c, login, address, config, now=now))
        with service.database.read() as connection:
            found = roles.by_login(connection, login)
        if not passwords.is_password(found["password_hash"] if found else None, password) or found is None:
            raise ServiceError("this name and password do not go together")
    except ServiceError as error:
        return _sign_in_page(request, service, target, str(error), error.status)

    def start(connection: Connection) -> str:
        passwords.withdraw_attempt(connection, attempt)
        return sessions.start(connection, found["id"], config, now=now)

    return signed_in(service, service.database.write(start), target)


@router.post("/sign-out")
def sign_out(request: Request, service: Serving) -> RedirectResponse:
    """End this browser's session."""
    cookie = request.cookies.get(service.session_cookie)
    if cookie:
        service.database.write(lambda connection: sessions.end(connection, cookie))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(service.session_cookie, path="/", secure=service.config.is_secure, httponly=True, samesite="lax")
    return response


@router.get("/invite/{secret}")
def invite_page(request: Request, service: Serving, secret: str) -> HTMLResponse:
    """What an invitation leads to."""
    return _invite_page(request, service, secret)


@router.post("/invite/{secret}")
def accept_invite(request: Request, service: Serving, form: Form, secret: str) -> Response:
    """Make the account, and sign it in."""
    now, login, name = service.clock(), str(form.get("login", "")), str(form.get("name", ""))[:200]
    with service.database.read() as connection:
        invites.find(connection, secret, now=now)  # a password costs time and memory to hash: not for whoever guesses a link
    try:
        password_hash = passwords.hash_password(str(form.get("password", "")))

        def accept(connection: Connection) -> str:
            account_id = invites.accept(connection, secret, login, now=now, name=name, password_hash=password_hash)
            return sessions.start(connection, account_id, service.config, now=now)

        return signed_in(service, service.database.write(accept), "/")
    except ServiceError as error:
        return _invite_page(request, service, secret, str(error), error.status, login=login, name=name)


def signed_in(service: Service, cookie: str, target: str) -> RedirectResponse:
    """On to `target`, with the session's cookie."""
    response = RedirectResponse(target, 303)
    response.set_cookie(
        service.session_cookie,
        cookie,
        max_age=int(service.config.session_hours * 3600),
        path="/",
        secure=service.config.is_secure,
        httponly=True,
        samesite="lax",
    )
    return response


def _sign_in_page(request: Request, service: Service, target: str, error: str = "", status: int = 200) -> HTMLResponse:
    label = service.config.oidc.label if service.config.oidc else ""
    return public_page(request, "service/sign_in.html", status, target=_local(target), error=error, oidc_label=label)


def _invite_page(
    request: Request, service: Service, secret: str, error: str = "", status: int = 200, login: str = "", name: str = ""
) -> HTMLResponse:
    with service.database.read() as connection:
        row = invites.find(connection, secret, now=service.clock())
    label = service.config.oidc.label if service.config.oidc else ""
    context = {"role": row["role"], "shortest": passwords.SHORTEST, "error": error, "login": login, "name": name}
    return public_page(request, "service/invite.html", status, **context, secret=secret, oidc_label=label)


def _local(target: str) -> str:
    """An address of this service, whatever was asked for: a sign-in must not lead elsewhere."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_local else "/"


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
