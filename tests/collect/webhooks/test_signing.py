import hashlib
import hmac

import pytest

from truing.collect.webhooks.signing import SignatureError, derived_secret, sign, verify

BODY, NOW = b'{"action":"export.done"}', 1_732_500_000.4


def test_the_signature_is_hmac_of_time_and_body():
    expected = hmac.new(b"secret", b"1732500000." + BODY, hashlib.sha256).hexdigest()
    assert sign("secret", BODY, now=NOW) == f"t=1732500000,v1={expected}"


@pytest.mark.parametrize("late", [-299, 0, 299])
def test_it_is_accepted_within_the_window(late):
    verify("secret", sign("secret", BODY, now=NOW), BODY, now=NOW + late)


@pytest.mark.parametrize(
    ("secret", "body", "later", "message"),
    [
        ("other", BODY, 0, "does not fit"),
        ("secret", BODY + b" ", 0, "does not fit"),
        ("secret", BODY, 302, "more than 300 s"),
        ("secret", BODY, -302, "more than 300 s"),
    ],
)
def test_what_was_changed_or_is_old_is_refused(secret, body, later, message):
    with pytest.raises(SignatureError, match=message):
        verify(secret, sign("secret", BODY, now=NOW), body, now=NOW + later)


def test_a_newer_time_cannot_be_written_over_an_old_signature():
    old = sign("secret", BODY, now=NOW).replace("t=1732500000", "t=1732600000")
    with pytest.raises(SignatureError, match="does not fit"):
        verify("secret", old, BODY, now=NOW + 100_000)


@pytest.mark.parametrize("header", ["", "v1=ab", "t=,v1=ab", "t=-5,v1=ab", "t=1e9,v1=ab", "t=" + "9" * 40 + ",v1=ab", "t=٣,v1=a"])
def test_a_malformed_header_is_refused(header):
    with pytest.raises(SignatureError):
        verify("secret", header, BODY, now=NOW)


def test_each_webhook_has_a_secret_of_its_own():
    assert derived_secret(b"key", "a") != derived_secret(b"key", "b")
    assert derived_secret(b"key", "a") != derived_secret(b"yek", "a")
    assert derived_secret(b"key", "a") == derived_secret(b"key", "a")
