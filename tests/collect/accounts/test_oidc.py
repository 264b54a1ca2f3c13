"""Signing in through a provider that a test plays on loopback."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import urllib.parse
from dataclasses import dataclass, field

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import select
from tests.collect.service_world import KEY, World

from truing.collect.accounts import invites, oidc
from truing.collect.accounts.oidc import Pending
from truing.collect.config import OidcConfig, ServiceConfig
from truing.collect.errors import NotAllowedError
from truing.collect.schema import account
from truing.errors import TruingError


@dataclass
class Provider:
    """Vouches for one person; `change` lays other claims over the token, `signing` is another key than it publishes."""

    key: RSAKey
    issuer: str = ""
    now: int = 0
    change: dict = field(default_factory=dict)
    signing: RSAKey | None = None
    challenge: str = ""
    nonce: str = ""

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        def discovery():
            ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            return {"issuer": self.issuer, **{name: f"{self.issuer}/{path}" for name, path in ends.items()}}

        @app.get("/keys")
        def keys():
            return {"keys": [self.key.as_dict(private=False)]}

        @app.post("/token")
        async def token(request: Request):
            form = await request.form()
            digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
            if form["code"] != "good" or base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != self.challenge:
                return JSONResponse({"error": "invalid_grant"}, 400)
            claims = {"iss": self.issuer, "aud": "truing", "sub": "person-7", "exp": self.now + 300, "nonce": self.nonce}
            claims |= {"email": "Ada@example.org", "name": "Ada", **self.change}
            signed = jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.signing or self.key)
            return {"access_token": "a", "token_type": "Bearer", "id_token": signed}

        return app


@pytest.fixture(scope="module")
def key():
    return RSAKey.generate_key(2048, parameters={"kid": "one"})


@pytest.fixture
def provider(key):
    found = Provider(key)
    server = uvicorn.Server(uvicorn.Config(found.app(), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    found.issuer = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield found
    server.should_exit = True
    thread.join()


@pytest.fixture
def world(database, tmp_path, provider, monkeypatch):
    monkeypatch.setenv(oidc.SECRET_VARIABLE, "the client's secret")
    settings = OidcConfig(issuer=provider.issuer, client_id="truing")
    found = World(database, tmp_path, config=ServiceConfig(public_url="http://testserver", oidc=settings))
    provider.now = int(found.clock.now)
    return found


def begin(browser, provider, invite=""):
    answer = browser.get("/oidc/start", params={"invite": invite} if invite else {})
    assert answer.status_code == 303, answer.text
    sent = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answer.headers["location"]).query))
    assert (sent["redirect_uri"], sent["code_challenge_method"]) == ("http://testserver/oidc/callback", "S256")
    provider.challenge, provider.nonce = sent["code_challenge"], sent["nonce"]
    return sent["state"]


def invited(world):
    return world.database.write(lambda c: invites.create(c, "rater", world.config, now=world.clock.now))


def test_an_invitation_makes_the_account_and_later_the_provider_is_enough(world, provider):
    first = world.browser()
    state = begin(first, provider, invited(world))
    assert first.get("/oidc/callback", params={"state": state, "code": "good"}).headers["location"] == "/"
    assert first.get("/").status_code == 200
    with world.database.read() as connection:
        row = connection.execute(select(account)).mappings().one()
    assert (row["login"], row["password_hash"], row["oidc_subject"]) == ("ada@example.org", None, f"{provider.issuer}#person-7")
    later = world.browser()
    assert later.get("/oidc/callback", params={"state": begin(later, provider), "code": "good"}).status_code == 303
    assert later.get("/").status_code == 200


def test_a_stranger_whom_the_provider_knows_is_still_one(world, provider):
    browser = world.browser()
    answer = browser.get("/oidc/callback", params={"state": begin(browser, provider), "code": "good"})
    assert (answer.status_code, "Ask for an invitation" in answer.text) == (404, True)


@pytest.mark.parametrize(
    "change", [{"iss": "http://elsewhere"}, {"aud": "another"}, {"nonce": "another"}, {"exp": 1}, {"sub": None}], ids=str
)
def test_a_token_for_somebody_or_something_else_is_refused(world, provider, change):
    provider.change = change
    browser = world.browser()
    answer = browser.get("/oidc/callback", params={"state": begin(browser, provider, invited(world)), "code": "good"})
    assert (answer.status_code, "cannot be trusted" in answer.text) == (403, True)


def test_a_token_signed_by_another_key_is_refused(world, provider):
    provider.signing = RSAKey.generate_key(2048)
    browser = world.browser()
    answer = browser.get("/oidc/callback", params={"state": begin(browser, provider, invited(world)), "code": "good"})
    assert answer.status_code == 403


def test_a_code_or_a_state_of_somebody_else_is_refused(world, provider):
    browser, other = world.browser(), world.browser()
    state = begin(browser, provider, invited(world))
    assert browser.get("/oidc/callback", params={"state": state, "code": "stolen"}).status_code == 403
    assert browser.get("/oidc/callback", params={"state": "another", "code": "good"}).status_code == 403
    assert other.get("/oidc/callback", params={"state": state, "code": "good"}).status_code == 403
    assert browser.get("/oidc/callback", params={"state": state, "error": "access_denied"}).status_code == 400


def test_a_sign_in_under_way_is_sealed_and_runs_out():
    pending = Pending("s", "n", "v", "", until=600.0)
    sealed = pending.sealed(KEY)
    assert Pending.opened(sealed, KEY, 0.0) == pending
    for cookie, key, now in ((sealed, b"another key", 0.0), ("x" + sealed, KEY, 0.0), (sealed, KEY, 601.0), ("", KEY, 0.0)):
        with pytest.raises(NotAllowedError):
            Pending.opened(cookie, key, now)


def test_without_a_provider_there_is_no_such_page(database, tmp_path):
    world = World(database, tmp_path)
    assert world.browser().get("/oidc/start").status_code == 404
    assert "organisation" not in world.browser().get("/sign-in").text


def test_a_missing_client_secret_is_said_at_start(monkeypatch):
    monkeypatch.delenv(oidc.SECRET_VARIABLE, raising=False)
    with pytest.raises(TruingError, match="set TRUING_OIDC_SECRET"):
        oidc.check(OidcConfig(issuer="https://id.example", client_id="truing"))


def test_a_provider_that_does_not_answer(world, provider):
    dead = OidcConfig(issuer="http://127.0.0.1:1", client_id="truing")
    lone = World(world.database, world.folder, config=ServiceConfig(public_url="http://testserver", oidc=dead))
    browser = lone.browser()
    assert "does not answer" in browser.get("/oidc/start").text
