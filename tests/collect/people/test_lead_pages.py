"""What a lead does about one person, through the page."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from tests.collect.service_world import csrf

from truing.collect.onboarding import admission
from truing.collect.onboarding.steps import Qualification
from truing.collect.schema import account, message, payment, qualification


@pytest.fixture
def rater(world):
    return world.account("bo")


def send(browser, rater, part, **sent):
    token = csrf(browser.get(f"/lead/people/{rater}").text)
    return browser.post(f"/lead/people/{rater}/{part}", data={"csrf": token, **sent})


def of(world, rater, selected):
    with world.database.read() as connection:
        return connection.scalar(select(selected).where(account.c.id == rater))


def column(world, selected):
    with world.database.read() as connection:
        return connection.scalars(select(selected)).all()


def test_a_message_there_and_back(world, rater):
    lead = world.signed_in("lead", "lead")
    assert send(lead, rater, "messages", text="Read clause 2").status_code == 303
    assert column(world, message.c.text) == ["Read clause 2"]
    assert "not read yet" in lead.get(f"/lead/people/{rater}").text
    assert send(lead, rater, "messages", text=" ").status_code == 400


def test_a_qualification_is_earned_again_or_granted(world, rater):
    lead = world.signed_in("lead", "lead")
    assert send(lead, rater, "qualification", name="pair", status="revoked").status_code == 404
    failed = Qualification("failed", decided_at=1.0)
    world.database.write(lambda c: admission.decide(c, rater, "pair", failed))
    for status in ("revoked", "granted"):
        assert send(lead, rater, "qualification", name="pair", status=status).status_code == 303
        assert column(world, qualification.c.status) == [status]
    assert send(lead, rater, "qualification", name="pair", status="failed").status_code == 400


def test_roles_and_erasing_are_an_administrators(world, rater):
    lead, admin = world.signed_in("lead", "lead"), world.signed_in("ada", "admin")
    assert send(lead, rater, "role", role="admin").status_code == 403
    assert lead.get(f"/lead/people/{rater}/data.json").status_code == 403
    assert send(admin, rater, "role", role="lead").status_code == 303
    assert of(world, rater, account.c.role) == "lead"
    assert send(admin, rater, "role", role="king").status_code == 400
    assert admin.get(f"/lead/people/{rater}/data.json").json()["account"]["login"] == "bo"
    assert send(admin, rater, "erase", pseudonym="r-wrong").status_code == 400
    assert send(admin, rater, "erase", pseudonym=of(world, rater, account.c.pseudonym)).status_code == 303
    assert of(world, rater, account.c.login) is None
    assert admin.get(f"/lead/people/{rater}").status_code == 200


def test_the_last_administrator_keeps_the_role(world):
    admin = world.signed_in("ada", "admin")
    assert send(admin, 1, "role", role="rater").status_code == 409


@pytest.mark.parametrize(("amount", "cents"), [("12.5", 1250), ("12.505", None), ("-3", None), ("nan", None), ("", None)])
def test_payments_are_whole_cents_above_zero(world, rater, amount, cents):
    from tests.collect.people_world import add_campaign

    campaign_id = add_campaign(world.database)
    answer = send(world.signed_in("lead", "lead"), rater, "payments", kind="payout", amount=amount, campaign=campaign_id)
    assert answer.status_code == (303 if cents else 400)
    assert column(world, payment.c.amount_cents) == ([cents] if cents else [])


def test_a_payment_to_no_campaign_is_the_senders_fault(world, rater):
    answer = send(world.signed_in("lead", "lead"), rater, "payments", kind="payout", amount="1", campaign="x")
    assert (answer.status_code, "campaign: a whole number" in answer.text) == (400, True)


def test_an_overpayment_is_said_to_be_one_to_lead_and_rater(world):
    from tests.collect.people_world import add_campaign

    rater = world.signed_in("bo")
    campaign_id = add_campaign(world.database)
    lead = world.signed_in("lead", "lead")
    send(lead, 1, "payments", kind="payout", amount="12.50", campaign=campaign_id)
    for page in (lead.get("/lead/people/1").text, rater.get("/me").text):
        assert '<dt>paid ahead</dt><dd class="figure">12.50 USD</dd>' in page
        assert "it counts towards what is earned next" in page
        assert "to be paid" not in page
        assert "-12.50" not in page
