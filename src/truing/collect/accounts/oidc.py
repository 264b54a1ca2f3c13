"""Signing in through an identity provider (OpenID Connect, authorization code with PKCE).

Who has an account linked to the provider's subject is signed in; an invitation followed through the provider makes that account.
What ties the answer to the browser that asked (state, nonce, verifier) travels in a signed cookie, so nothing is kept here.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
import urllib.parse
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from truing.collect.accounts import invites, roles, sessions
from truing.collect.accounts.pages import signed_in
from truing.collect.config import OidcConfig
from truing.collect.errors import NotAllowedError, NotFoundError, ServiceError
from truing.collect.sent import without_nul
from truing.collect.web import Service, Serving
from truing.errors import TruingError

router = APIRouter(prefix="/oidc", include_in_schema=False)

SECRET_VARIABLE = "TRUING_OIDC_SECRET"  # noqa: S105  (the variable's name)
COOKIE = "truing-oidc"
PENDING_S = 600
TIMEOUT_S = 10.0
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Signatures by the provider's own key; never "none", never one that anybody with the client's secret could make."""


def check(config: OidcConfig) -> None:
    """Raises TruingError where the extra is not installed, or the client's secret is not set: said at start, not at a sign-in."""
    try:
        import authlib  # noqa: F401  (only whether it is there)
    except ModuleNotFoundError:
        raise TruingError("oidc: authlib is not installed. Run: pip install 'truing[oidc]'") from None
    if not os.environ.get(SECRET_VARIABLE):
        raise TruingError(f"oidc: set {SECRET_VARIABLE} to the client secret that {config.issuer} gave for {config.client_id}")


@dataclass(frozen=True)
class Pending:
    """A sign-in under way."""

    state: str
    nonce: str
    verifier: str
    invite: str
    until: float

    def sealed(self, key: bytes) -> str:
        """As a cookie that only this service can have made."""
        body = base64.urlsafe_b64encode(json.dumps(vars(self)).encode()).decode()
        return f"{body}.{_signature(body, key)}"

    @classmethod
    def opened(cls, cookie: str, key: bytes, now: float) -> Pending:
        """Raises NotAllowedError where it was not made here or is too old."""
        body, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), _signature(body, key).encode()):
            raise NotAllowedError("this sign-in did not begin in this browser. Begin again.")
        found = cls(**json.loads(base64.urlsafe_b64decode(body)))
        if not 0 <= found.until - now <= PENDING_S:
            raise NotAllowedError("this sign-in took too long. Begin again.")
        return found


@router.get("/start")
def start(service: Serving, invite: str = "") -> RedirectResponse:
    """Off to the provider."""
    config, now = _config(service), service.clock()
    if invite:
        with service.database.read() as connection:
            invites.find(connection, invite, now=now)
    verifier = secrets.token_urlsafe(48)
    pending = Pending(secrets.token_urlsafe(24), secrets.token_urlsafe(24), verifier, invite, now + PENDING_S)
    with _client(service) as client:
        url, _ = client.create_authorization_url(
            _discovered(config)["authorization_endpoint"], state=pending.state, nonce=pending.nonce, code_verifier=verifier
        )
    response = RedirectResponse(url, 303)
    secure = service.config.is_secure
    sealed = pending.sealed(service.key)
    response.set_cookie(COOKIE, sealed, max_age=PENDING_S, path="/oidc", secure=secure, httponly=True, samesite="lax")
    return response


@router.get("/callback")
def callback(request: Request, service: Serving, state: str = "", code: str = "", error: str = "") -> RedirectResponse:
    """Back from the provider: sign its subject in, or make the account that an invitation is for."""
    now = service.clock()
    pending = Pending.opened(request.cookies.get(COOKIE, ""), service.key, now)
    if not hmac.compare_digest(state.encode(), pending.state.encode()):
        raise NotAllowedError("this sign-in did not begin in this browser. Begin again.")
    if error or not code:
        raise ServiceError("the identity provider did not sign you in. Begin again, or use a password.")
    claims = _claims(service, code, pending)
    subject = f"{_config(service).issuer}#{claims['sub']}"

    def enter(connection: Connection) -> str:
        row = roles.by_subject(connection, subject)
        if row is not None:
            return sessions.start(connection, row["id"], service.config, now=now)
        if not pending.invite:
            raise NotFoundError("nobody here goes by that identity. Ask for an invitation.")
        login = str(claims.get("email") or claims.get("preferred_username") or claims["sub"])
        name = str(claims.get("name", ""))[:200]
        account_id = invites.accept(connection, pending.invite, login, now=now, name=name, oidc_subject=subject)
        return sessions.start(connection, account_id, service.config, now=now)

    response = signed_in(service, service.database.write(enter), "/")
    response.delete_cookie(COOKIE, path="/oidc")
    return response


def _claims(service: Service, code: str, pending: Pending) -> dict[str, Any]:
    """What the provider's signed token says, once its signature, issuer, audience, time and nonce are checked."""
    from authlib.common.errors import AuthlibBaseError
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    config = _config(service)
    provider = _discovered(config)
    try:
        with _client(service) as client:
            token = client.fetch_token(provider["token_endpoint"], code=code, code_verifier=pending.verifier)
        keys = KeySet.import_key_set(_fetched(provider["jwks_uri"]))
        claims = jwt.decode(token["id_token"], keys, algorithms=ALGORITHMS).claims
        expected: dict[str, Any] = {
            "iss": {"essential": True, "value": config.issuer},
            "aud": {"essential": True, "value": config.client_id},
            "nonce": {"essential": True, "value": pending.nonce},
            "sub": {"essential": True},
            "exp": {"essential": True},
        }
        jwt.JWTClaimsRegistry(now=int(service.clock()), leeway=120, **expected).validate(claims)
    except (AuthlibBaseError, JoseError, httpx.HTTPError, KeyError, ValueError) as error:
        raise NotAllowedError(
            f"the identity provider's answer cannot be trusted ({type(error).__name__}). Begin again."
        ) from None
    found: dict[str, Any] = without_nul(dict(claims))
    return found


def _client(service: Service) -> Any:
    from authlib.integrations.httpx_client import OAuth2Client

    return OAuth2Client(
        client_id=_config(service).client_id,
        client_secret=os.environ.get(SECRET_VARIABLE, ""),
        scope="openid email profile",
        redirect_uri=f"{service.config.public_url}/oidc/callback",
        code_challenge_method="S256",
        timeout=TIMEOUT_S,
    )


def _discovered(config: OidcConfig) -> dict[str, Any]:
    found: dict[str, Any] = _fetched(f"{config.issuer.rstrip('/')}/.well-known/openid-configuration")
    if found.get("issuer") != config.issuer:
        raise ServiceError("the identity provider calls itself by another name than 'issuer' in the service's settings")
    return found


def _fetched(url: str) -> Any:
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise ServiceError("the identity provider names an address that is not http")
    try:
        answer = httpx.get(url, timeout=TIMEOUT_S, follow_redirects=False)
        answer.raise_for_status()
        return answer.json()
    except (httpx.HTTPError, ValueError):
        raise ServiceError("the identity provider does not answer. Use a password, or try again later.") from None


def _config(service: Service) -> OidcConfig:
    if service.config.oidc is None:
        raise NotFoundError("this service has no identity provider")
    return service.config.oidc


def _signature(body: str, key: bytes) -> str:
    return hmac.new(key, b"oidc " + body.encode(), "sha256").hexdigest()
