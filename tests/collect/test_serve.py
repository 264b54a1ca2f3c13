import os
import signal
import socket
import stat
import subprocess
import sys
import time

import httpx
import pytest

from truing.collect import campaigns, serve
from truing.collect.accounts import roles
from truing.collect.config import CampaignConfig, ServiceConfig
from truing.collect.new_items import NewItem
from truing.collect.schema import guideline, slot
from truing.errors import TruingError
from truing.records import Prompt

TEXT = "Read.\n\n## Truth {#truth}\n\nTruth first.\n"


def test_the_first_start_makes_a_key_and_a_link_and_later_ones_only_while_nobody_is_there(tmp_path):
    found = serve.place(tmp_path, None, ServiceConfig())
    link = serve.prepare(found)
    assert link.startswith("http://127.0.0.1:8000/invite/")
    assert serve.prepare(found) != link
    assert stat.S_IMODE((tmp_path / "service.key").stat().st_mode) == 0o600
    key = (tmp_path / "service.key").read_text()
    opened = found.open()
    opened.write(lambda c: roles.create(c, "admin", "admin", now=0.0))
    opened.close()
    assert serve.prepare(found) is None
    assert (tmp_path / "service.key").read_text() == key


def test_a_port_that_is_taken_and_an_address_that_is_not_ours():
    listening = serve.listen("127.0.0.1", 0)
    with listening, pytest.raises(TruingError, match=r"cannot listen there .*Choose another --port"):
        serve.listen("127.0.0.1", listening.getsockname()[1])
    with pytest.raises(TruingError, match="cannot listen"):
        serve.listen("192.0.2.1", 0)


def test_several_processes_need_postgresql(tmp_path):
    with pytest.raises(TruingError, match="several need PostgreSQL"):
        serve.serve(serve.place(tmp_path, None, ServiceConfig()), "127.0.0.1", 0, processes=2)


def test_what_listening_elsewhere_means_is_said():
    plain, secure = ServiceConfig(), ServiceConfig(public_url="https://rate.example.org")
    for host in ("127.0.0.1", "::1", "localhost"):
        assert serve.exposure(host, plain) is None
    assert "cross the network in clear" in serve.exposure("0.0.0.0", plain)
    assert "TLS must end in front" in serve.exposure("rate.example.org", secure)


def test_a_campaign_is_made_with_its_guideline_and_items_or_not_at_all(database):
    items = [NewItem(external_id=f"i-{n}", prompt=Prompt.from_text("q?"), responses=("a", "b")) for n in range(2)]
    config = CampaignConfig(name="june", guideline="main", overlap=2)
    with pytest.raises(TruingError):
        database.write(lambda c: campaigns.make(c, config, [*items, items[0]], guideline=TEXT, now=0.0))
    with database.read() as connection:
        assert connection.execute(guideline.select()).all() == []
    database.write(lambda c: campaigns.make(c, config, items, guideline=TEXT, now=0.0))
    with database.read() as connection:
        assert len(connection.execute(slot.select()).all()) == 4


@pytest.mark.slow
def test_the_server_starts_answers_and_stops(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "truing", "collect", "--folder", str(tmp_path), "--port", port]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        while True:
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/health").json() == {"status": "ok"}
                break
            except httpx.ConnectError:
                assert process.poll() is None
                assert time.monotonic() - started < 120
                time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert f"make the first administrator, once: http://127.0.0.1:{port}/invite/" in output
