"""The client against a server in a process of its own, which is killed while an export is under way."""

import subprocess
import sys
from pathlib import Path

import pytest

from truing.collect.client import Client
from truing.collect.exchange.convert import judged_of_set
from truing.program.comparisons import comparison
from truing.records import Prompt
from truing.store.artifacts import verify

ROWS = [comparison(Prompt.from_text(f"q{i}?"), f"a{i}", f"b{i}", ("sft", "ppo"), "sampled") for i in range(50)]


@pytest.fixture
def serve(desk, tmp_path):
    """Start a server; every one that is still running is ended afterwards."""
    lead, running = desk.rater("lead"), []

    def start():
        script = str(Path(__file__).parent / "serve.py")
        command = [sys.executable, script, str(tmp_path / "service.db"), str(desk.folder), str(lead)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process, f"http://127.0.0.1:{int(process.stdout.readline())}"

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_killed_server_finishes_the_export_when_it_is_back(desk, serve, tmp_path):
    campaign_id = desk.campaign(overlap=1)
    process, url = serve()
    with Client(url, "all") as client:
        assert client.add_comparisons(client.campaign("demo").id, ROWS).items == 50
        assert len(desk.work(campaign_id, desk.rater("fern"), 99)) == 50
        begun = client.start_export("june", ["demo"])
    process.kill()
    process.wait()
    desk.work(campaign_id, desk.rater("moss"), 99)
    _, url = serve()
    with Client(url, "all") as client:
        made = client.download(client.wait_for_export(begun.id, every_s=0.05).id, tmp_path / "fetched")
    assert verify(made) == []
    assert sum(len(pair.judgments) for pair in judged_of_set(made.path)) == 50
