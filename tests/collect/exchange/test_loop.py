"""A run whose raters are people, by way of a service that listens on this machine. The raters here are scripted: simulated."""

import re
import threading
import time

import pytest
import uvicorn

from truing.collect.answers import PairAnswer
from truing.errors import TruingError
from truing.program import lineage
from truing.program.recipe import Recipe
from truing.program.rounds import run
from truing.records import Comparison, Judgment, PreferencePair
from truing.store.files import read_json, read_records

RECIPE = """
[run]
threads = 1
stages = ["sft", "preferences", "dpo"]
[model]
path = "{model}"
device = "cpu"
[data]
demonstrations = "embedded"
prompts = "embedded"
n_demonstrations = 40
n_prompts = 12
n_eval_prompts = 4
[sft]
heldout_fraction = 0.1
epochs = 1
batch_tokens = 1024
[preferences]
judged_by = "people"
service = "{url}"
campaign = "demo"
comparisons = 12
max_new_tokens = 8
[dpo]
batch_pairs = 16
"""


@pytest.fixture
def url(service):
    """The service on a port of its own, its worker running."""
    config = uvicorn.Config(service.http.app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    service.worker.start()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    service.worker.stop()
    server.should_exit = True
    thread.join()


def test_comparisons_go_out_and_the_frozen_judgments_come_back(service, url, tiny_model_dir, tmp_path, monkeypatch):
    desk, out = service.desk, tmp_path / "run"
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE.format(model=tiny_model_dir, url=url))
    recipe = Recipe.load(file)
    monkeypatch.delenv("TRUING_COLLECT_TOKEN", raising=False)
    with pytest.raises(TruingError, match="environment variable TRUING_COLLECT_TOKEN"):
        run(recipe, out)
    monkeypatch.setenv("TRUING_COLLECT_TOKEN", "all")
    with pytest.raises(TruingError, match=r"there is no campaign 'demo' \(there: none\)"):
        run(recipe, out, resume=True)

    campaign_id = desk.campaign(overlap=2)
    with pytest.raises(TruingError, match=r"0 of \d+ judgments are in. Run again with --resume") as raised:
        run(recipe, out, resume=True)
    needed = int(re.search(r"0 of (\d+)", str(raised.value))[1])
    rows = read_records(out / "round-1" / "comparisons" / "comparisons.jsonl", Comparison)
    assert needed == 2 * len(rows)
    fern, moss = desk.rater("fern"), desk.rater("moss")
    desk.work(campaign_id, fern, 99)
    with pytest.raises(TruingError, match=rf"{len(rows)} of {needed} judgments"):
        run(recipe, out, resume=True)
    desk.work(campaign_id, moss, 99, PairAnswer(choice="tie", margin=0))
    run(recipe, out, resume=True)

    judged = read_records(out / "round-1" / "preferences" / "judgments.jsonl", Judgment)
    assert {j.rater_id for j in judged} == {"fern", "moss"}
    assert len(judged) == needed
    pairs = [
        p for part in ("train", "heldout") for p in read_records(out / "round-1/preferences" / f"{part}.jsonl", PreferencePair)
    ]
    assert {p.label for p in pairs} == {0.75}
    assert all(p.simulated for p in pairs), "scripted raters are told as what they are"
    artifact, root = lineage.find(str(out / "round-1" / "dpo"))
    text = lineage.render(lineage.trace(artifact, lineage.known_roots(root)))
    assert f"judgments demo-{read_json(out / 'round-1/judgments/manifest.json')['name'].removeprefix('demo-')}" in text
    assert "raters: fern" in text
    assert "(version 3)" in text

    before = (out / "round-1" / "dpo" / "manifest.json").read_bytes()
    service.worker.stop()
    run(recipe, out, resume=True)
    assert (out / "round-1" / "dpo" / "manifest.json").read_bytes() == before


def test_a_campaign_that_a_lead_closes_is_taken_as_it_is(service, url, tmp_path, monkeypatch):
    from truing.collect import campaigns
    from truing.program.comparisons import comparison
    from truing.program.people import judged_by_service
    from truing.program.recipe import PreferencesConfig
    from truing.records import Guideline, Prompt

    monkeypatch.setenv("TRUING_COLLECT_TOKEN", "all")
    desk = service.desk
    rows = [comparison(Prompt.from_text(f"q{i}?"), "a", "b", ("sft", "sft"), "sampled") for i in range(3)]
    config = PreferencesConfig(judged_by="people", service=url, campaign="demo")
    campaign_id, said = desk.campaign(overlap=2), []
    followed = Guideline(version=1, text="# Another\n")
    with pytest.raises(TruingError, match="0 of 6"):
        judged_by_service(config, rows, followed, tmp_path / "set", said.append)
    assert "follows another guideline than the run's version 1" in said[0]
    desk.work(campaign_id, desk.rater("fern"), 2)
    desk.database.write(lambda connection: campaigns.set_status(connection, campaign_id, "closed", now=0.0))
    folder = judged_by_service(config, rows, followed, tmp_path / "set", said.append)
    assert read_json(folder / "set.json")["judgments"] == 2
    assert judged_by_service(config, rows, followed, tmp_path / "set", said.append) == folder
