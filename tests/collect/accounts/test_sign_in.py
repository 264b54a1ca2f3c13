from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from tests.collect.service_world import PASSWORD, csrf, sign_in

from truing.collect.accounts import invites, passwords, roles, sessions
from truing.collect.config import ServiceConfig
from truing.collect.errors import ConflictError, NotFoundError, ServiceError, TooManyAttemptsError
from truing.collect.schema import account, invite, session

HOUR_S = 3600.0


def test_an_invitation_makes_one_account_once(world):
    secret = world.database.write(lambda c: invites.create(c, "lead", world.config, now=world.clock.now))
    browser = world.browser()
    page = browser.get(f"/invite/{secret}")
    assert "invited as a lead" in page.text
    sent = {"csrf": csrf(page.text), "login": " Ada ", "name": "Ada", "password": PASSWORD}
    answer = browser.post(f"/invite/{secret}", data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "Campaigns" in browser.get("/", follow_redirects=True).text
    again = world.browser()
    assert again.get(f"/invite/{secret}").status_code == 404
    with world.database.read() as connection:
        row = connection.execute(select(account)).mappings().one()
    assert (row["login"], row["role"]) == ("ada", "lead")
    assert row["password_hash"].startswith("$argon2id$")
    assert row["pseudonym"].startswith("r-")
    assert "ada" not in row["pseudonym"]


def test_a_refused_invitation_can_be_tried_again(world):
    world.account("taken")
    secret = world.database.write(lambda c: invites.create(c, "rater", world.config, now=world.clock.now))
    browser = world.browser()
    token = csrf(browser.get(f"/invite/{secret}").text)
    short = browser.post(f"/invite/{secret}", data={"csrf": token, "login": "new", "password": "short"})
    assert "a password has 10 to 1000 characters" in short.text
    taken = browser.post(f"/invite/{secret}", data={"csrf": token, "login": "TAKEN", "password": PASSWORD})
    assert (taken.status_code, "is taken" in taken.text) == (409, True)
    assert browser.post(f"/invite/{secret}", data={"csrf": token, "login": "new", "password": PASSWORD}).status_code == 303


def test_an_invitation_runs_out(world):
    secret = world.database.write(lambda c: invites.create(c, "rater", world.config, now=world.clock.now))
    world.clock.now += world.config.invite_days * 86_400 + 1
    assert world.browser().get(f"/invite/{secret}").status_code == 404


def test_the_first_administrator_has_one_link_at_a_time(database):
    config = ServiceConfig()
    first = database.write(lambda c: invites.for_first_admin(c, config, now=0.0))
    second = database.write(lambda c: invites.for_first_admin(c, config, now=1.0))
    with database.read() as connection:
        with pytest.raises(NotFoundError):
            invites.find(connection, first, now=2.0)
        assert invites.find(connection, second, now=2.0)["role"] == "admin"
    database.write(lambda c: invites.accept(c, second, "root", now=3.0))
    assert database.write(lambda c: invites.for_first_admin(c, config, now=4.0)) is None


def test_secrets_are_stored_as_hashes_only(world):
    secret = world.database.write(lambda c: invites.create(c, "rater", world.config, now=world.clock.now))
    browser = world.signed_in("rater")
    cookie = browser.cookies["truing"]
    with world.database.read() as connection:
        stored = [*connection.scalars(select(invite.c.token_hash)), *connection.scalars(select(session.c.id_hash))]
    assert len(stored) == 2
    assert secret not in stored
    assert cookie not in stored


def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(world):
    world.account("somebody")
    browser = world.browser()
    wrong = sign_in(browser, "somebody", "not the password")
    unknown = sign_in(browser, "nobody", "not the password")
    assert wrong.status_code == unknown.status_code == 400
    assert wrong.text == unknown.text
    assert "do not go together" in wrong.text


def test_guessing_is_stopped_and_forgiven_in_time(world):
    world.account("somebody")
    browser = world.browser()
    for _ in range(world.config.sign_in_attempts):
        assert sign_in(browser, "somebody", "a wrong password").status_code == 400
    assert sign_in(browser, "somebody").status_code == 429
    world.clock.now += world.config.sign_in_window_minutes * 60 + 1
    assert sign_in(browser, "somebody").status_code == 303


def test_an_address_is_limited_too_and_success_does_not_count(database):
    config = ServiceConfig(sign_in_attempts_an_address=3)

    def attempt(login, address, now):
        return database.write(lambda c: passwords.begin_attempt(c, login, address, config, now=now))

    ids = [attempt(f"login-{n}", "10.0.0.1", 0.0) for n in range(3)][-1]
    with pytest.raises(TooManyAttemptsError):
        attempt("new", "10.0.0.1", 1.0)
    database.write(lambda c: passwords.withdraw_attempt(c, ids))
    attempt("new", "10.0.0.1", 1.0)
    attempt("new", "10.0.0.2", 1.0)


def test_guesses_sent_side_by_side_are_no_more_than_are_allowed(world):
    world.account("r")
    browsers = [world.browser() for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda browser: sign_in(browser, "r", "wrong"), browsers))
    most = world.config.sign_in_attempts
    assert Counter(answer.status_code for answer in answers) == {400: most, 429: 16 - most}


def test_a_guessed_link_costs_no_password_hash(world, monkeypatch):
    monkeypatch.setattr(passwords, "hash_password", None)
    browser = world.browser()
    token = csrf(browser.get("/sign-in").text)
    answer = browser.post("/invite/guessed", data={"csrf": token, "login": "x", "password": "long enough to be one"})
    assert answer.status_code == 404


def test_signing_in_leads_back_but_never_elsewhere(world):
    world.account("r")
    for target, location in (
        ("/me", "/me"),
        ("//evil.example/", "/"),
        ("https://evil.example", "/"),
        ("/\\evil", "/"),
        ("/a\nb", "/"),
    ):
        assert sign_in(world.browser(), "r", next=target).headers["location"] == location


def test_signing_out_ends_the_session_on_the_server(world):
    browser = world.signed_in("rater")
    cookie = browser.cookies["truing"]
    assert browser.post("/sign-out", data={"csrf": csrf(browser.get("/").text)}).status_code == 303
    thief = world.browser()
    thief.cookies["truing"] = cookie
    assert thief.get("/").status_code == 303


def test_sessions_end_when_idle_or_old_and_survive_a_clock_set_back(world):
    browser = world.signed_in("rater")
    start = world.clock.now
    world.clock.now = start - HOUR_S
    assert browser.get("/").status_code == 200
    for _ in range(31):
        world.clock.now += 11 * HOUR_S
        if world.clock.now < start + world.config.session_hours * HOUR_S:
            assert browser.get("/").status_code == 200
    assert browser.get("/").status_code == 303
    idle = world.signed_in("other")
    world.clock.now += world.config.session_idle_minutes * 60 + 1
    assert idle.get("/").status_code == 303


def test_signing_in_forgets_the_sessions_that_have_run_out_and_no_others(world):
    config, start = world.config, world.clock.now
    world.signed_in("left")
    kept = world.signed_in("kept")
    world.clock.now += config.session_idle_minutes * 60 - 1
    assert kept.get("/").status_code == 200
    world.clock.now += 2
    world.signed_in("next")
    assert session_starts(world) == [start, world.clock.now]
    for _ in range(int(config.session_hours) // 12 + 1):
        world.clock.now += 12 * HOUR_S - 60
        kept.get("/")
    world.signed_in("last")
    assert session_starts(world) == [world.clock.now]


def session_starts(world):
    with world.database.read() as connection:
        return list(connection.scalars(select(session.c.created_at).order_by(session.c.created_at)))


def test_somebody_kept_out_is_out_at_once(world):
    admin, rater = world.signed_in("admin", "admin"), world.signed_in("rater")
    with world.database.read() as connection:
        rater_id = roles.by_login(connection, "rater")["id"]
    token = csrf(admin.get("/lead/people").text)
    assert admin.post(f"/lead/people/{rater_id}/access", data={"csrf": token, "access": "off"}).status_code == 303
    assert rater.get("/").status_code == 303
    assert sign_in(world.browser(), "rater").status_code == 400
    admin.post(f"/lead/people/{rater_id}/access", data={"csrf": token, "access": "on"})
    assert sign_in(world.browser(), "rater").status_code == 303


def test_the_last_administrator_stays_one(database):
    admin_id = database.write(lambda c: roles.create(c, "admin", "admin", now=0.0))
    for change in (
        lambda c: roles.disable(c, admin_id, now=1.0, by=admin_id),
        lambda c: roles.set_role(c, admin_id, "lead", now=1.0, by=admin_id),
    ):
        with pytest.raises(ConflictError, match="last administrator"):
            database.write(change)
    other = database.write(lambda c: roles.create(c, "other", "admin", now=2.0))
    database.write(lambda c: roles.set_role(c, admin_id, "lead", now=3.0, by=other))
    with database.read() as connection:
        assert roles.by_login(connection, "admin")["role"] == "lead"


@pytest.mark.parametrize("login", ["", "  ", "a\u0000b", "x" * 255])
def test_names_that_are_none(login):
    with pytest.raises(ServiceError, match="1 to 254 printable"):
        roles.normal_login(login)


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("rater", "/lead/people", 403),
        ("rater", "/lead/guidelines", 403),
        ("lead", "/lead/people", 200),
        ("rater", "/", 200),
        ("admin", "/lead", 200),
    ],
)
def test_pages_are_for_roles(world, role, path, status):
    assert world.signed_in(role, role).get(path).status_code == status


def test_a_lead_invites_raters_only(world):
    lead = world.signed_in("lead", "lead")
    token = csrf(lead.get("/lead/people").text)
    assert lead.post("/lead/people/invite", data={"csrf": token, "role": "admin"}).status_code == 403
    assert lead.post("/lead/people/invite", data={"csrf": token, "role": "rater"}).status_code == 200
    assert lead.post("/lead/people/invite", data={"csrf": token, "role": "king"}).status_code == 400


def test_a_session_is_written_down_at_most_once_a_minute(world):
    browser = world.signed_in("rater")
    started = world.clock.now

    def seen_at():
        with world.database.read() as connection:
            return connection.scalar(select(session.c.seen_at))

    world.clock.now += sessions.TOUCH_S
    browser.get("/")
    assert seen_at() == started
    world.clock.now += 1
    browser.get("/")
    assert seen_at() == world.clock.now


def test_nobody_is_kept_out_or_let_in_who_is_not_there(database):
    for change in (roles.disable, roles.enable):
        with pytest.raises(NotFoundError):
            database.write(lambda c, change=change: change(c, 99, now=1.0, by=1))
