import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

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


@contextlib.contextmanager
def running(folder, *options):
    """`truing collect` as a process; yields it, its address, and what it said once it has ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "truing", "collect", "--folder", str(folder), "--port", port, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = []
    try:
        yield process, f"http://127.0.0.1:{port}", said
    finally:
        os.kill(process.pid, signal.SIGINT)
        said.append(process.communicate(timeout=20)[0])


def answers(process, address):
    """Wait until it does, under load too."""
    started = time.monotonic()
    while True:
        try:
            return httpx.get(f"{address}/health").json() == {"status": "ok"}
        except httpx.ConnectError:
            assert process.poll() is None
            assert time.monotonic() - started < 120
            time.sleep(0.05)


def test_the_server_starts_answers_and_stops(tmp_path):
    with running(tmp_path) as (process, address, said):
        assert answers(process, address)
    assert f"make the first administrator, once: {address}/invite/" in said[0]
    assert process.returncode == 0


def test_several_processes_serve_one_address_and_a_killed_one_is_replaced(postgresql, tmp_path):
    def children(process):
        return {int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()}

    with running(tmp_path, "--database", postgresql, "--processes", "2") as (process, address, _):
        assert answers(process, address)
        before = children(process)
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        started = time.monotonic()
        while len(children(process) - before) != 1 or len(children(process)) != 2:
            assert answers(process, address)
            assert time.monotonic() - started < 60
    assert process.returncode == 0
