import pytest

from truing.collect.webhooks.addresses import ForbiddenAddressError, Target, checked_target, resolve


def at(*addresses):
    return lambda host, port: addresses


def test_public_addresses_by_https():
    target = checked_target("https://hooks.example.org/in?x=1", resolver=at("93.184.215.14"))
    assert target == Target("hooks.example.org", "93.184.215.14", 443, is_tls=True)
    assert checked_target("https://hooks.example.org:8443/", resolver=at("2606:2800:21f::1")).port == 8443


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_also_by_http(address):
    assert checked_target("http://localhost:9000/in", resolver=at(address)).port == 9000


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "::",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_private_and_special_addresses_are_refused(address):
    with pytest.raises(ForbiddenAddressError, match="private network"):
        checked_target("https://inside.example/", resolver=at(address))


def test_one_private_address_among_public_ones_is_enough():
    with pytest.raises(ForbiddenAddressError, match=r"10\.0\.0\.1"):
        checked_target("https://mixed.example/", resolver=at("93.184.215.14", "10.0.0.1"))


def test_a_network_can_be_allowed():
    assert checked_target("http://inside.example/", ["10.0.0.0/8"], at("10.1.2.3")).address == "10.1.2.3"
    with pytest.raises(ForbiddenAddressError):
        checked_target("http://inside.example/", ["10.0.0.0/8"], at("192.168.0.1"))
    with pytest.raises(ForbiddenAddressError):
        checked_target("https://inside.example/", ["10.0.0.0/8"], at("fd00::1"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://hooks.example.org/", "use https"),
        ("ftp://hooks.example.org/", "write https"),
        ("file:///etc/passwd", "write https"),
        ("https://", "write https"),
        ("hooks.example.org", "write https"),
        ("https://user:pw@hooks.example.org/", "no user name or password"),
        ("https://hooks.example.org:99999/", "no port number"),
    ],
)
def test_urls_that_cannot_be_right(url, message):
    with pytest.raises(ForbiddenAddressError, match=message):
        checked_target(url, resolver=at("93.184.215.14"))


@pytest.mark.parametrize(
    "url", ["https://2130706433/", "https://0x0a000001/", "https://017700000001/", "https://[::ffff:a00:1]/"]
)
def test_other_ways_to_write_an_address_are_resolved_before_they_are_checked(url):
    try:
        target = checked_target(url)
    except ForbiddenAddressError:
        return
    assert target.address == "127.0.0.1"


def test_a_host_that_is_none():
    with pytest.raises(ForbiddenAddressError, match="no such host"):
        resolve("no-such-host.invalid", 443)
