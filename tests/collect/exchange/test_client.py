import json
from pathlib import Path

import httpx
import pytest

from truing.collect.client import ApiError, Client
from truing.collect.exchange import sets
from truing.collect.exchange.convert import judged_of_set
from truing.collect.schema import item, judgment, webhook
from truing.collect.webhooks.signing import derived_secret
from truing.errors import TruingError
from truing.program.comparisons import comparison
from truing.records import Prompt
from truing.store.artifacts import verify

FIXTURES = Path(__file__).parent / "fixtures"
ROWS = [comparison(Prompt.from_text(f"q{i}?"), f"a{i}", f"b{i}", ("sft", "ppo"), "sampled") for i in range(4)]


@pytest.fixture
def client(service):
    with service.client() as found:
        yield found


def test_from_comparisons_to_a_downloaded_set(service, client, tmp_path):
    desk = service.desk
    campaign_id = desk.campaign(overlap=1)
    found = client.campaign("demo")
    assert (found.id, found.status, found.needed) == (campaign_id, "open", 0)
    assert found.guideline_hash
    assert client.add_comparisons(campaign_id, ROWS, batch="round-1").items == 4
    again = client.add_comparisons(campaign_id, ROWS, batch="round-1")
    assert (again.items, again.present) == (0, 4)
    assert (client.batch(campaign_id, "round-1").needed, client.batch(campaign_id, "round-1").done) == (4, 0)
    desk.work(campaign_id, desk.rater("fern"), 3)
    assert client.batch(campaign_id, "round-1").done == 3
    begun = client.start_export("june", ["demo"], batches=["round-1"], pairs=["trl"])
    assert begun.state == "freezing"
    service.worker.run_exports()
    made = client.download(client.wait_for_export(begun.id).id, tmp_path / "fetched")
    assert verify(made) == []
    assert {p.comparison.comparison_id for p in judged_of_set(made.path)} < {row.comparison_id for row in ROWS}
    assert made.artifact_hash == sets.open_set(desk.folder / "june")[0].artifact_hash
    assert [e.state for e in client.exports()] == ["done"]
    with pytest.raises(TruingError, match="is there already"):
        client.download(begun.id, tmp_path / "fetched")


def test_only_the_batches_that_are_named_are_exported(service, client):
    desk = service.desk
    campaign_id = desk.campaign(overlap=1)
    client.add_comparisons(campaign_id, ROWS[:2], batch="one")
    client.add_comparisons(campaign_id, ROWS[2:], batch="two")
    desk.work(campaign_id, desk.rater("fern"), 4)
    client.start_export("second", ["demo"], batches=["two"])
    service.worker.run_exports()
    found = {p.comparison.comparison_id for p in judged_of_set(desk.folder / "second")}
    assert found == {row.comparison_id for row in ROWS[2:]}


def test_files_are_imported(service, client):
    campaign_id = service.desk.campaign(guideline="")
    added = client.import_file(campaign_id, FIXTURES / "ukpconvarg1.jsonl", with_judgments=True)
    assert (added.items, added.judgments) == (1, 3)
    named = {"prompt": "prompt", "first": "text2", "second": "text1"}
    client.import_file(campaign_id, FIXTURES / "label_studio.json", format_name="label_studio", fields=named)
    assert service.desk.rows(item)[-1]["responses"] == ["Granite.", "Mistral."]


def test_bad_files_are_named_as_the_sender_named_them(service, client, tmp_path):
    campaign_id = service.desk.campaign(guideline="")
    bad = tmp_path / "mine.jsonl"
    good = (FIXTURES / "hh_rlhf.jsonl").read_text()
    bad.write_text(
        good + json.dumps({"chosen": "\n\nHuman: x\n\nAssistant: a", "rejected": "\n\nHuman: x\n\nAssistant: a"}) + "\n"
    )
    with pytest.raises(ApiError, match=r"mine\.jsonl:3: field 'answers'") as raised:
        client.import_file(campaign_id, bad)
    assert raised.value.status == 400
    assert "/tmp" not in str(raised.value)
    (message,) = client.import_file(campaign_id, bad, drop_bad_rows=True).left_out
    assert message.startswith("mine.jsonl:3:")
    with pytest.raises(TruingError, match=r"lost\.jsonl: no such file"):
        client.import_file(campaign_id, tmp_path / "lost.jsonl")
    with pytest.raises(ApiError, match="use one of"):
        client.import_file(campaign_id, FIXTURES.parent / "test_client.py")


def test_a_token_may_do_what_its_scopes_say(service):
    desk = service.desk
    campaign_id = desk.campaign()
    with service.client("reader") as reader:
        assert len(reader.campaigns()) == 1
        for refused in (
            lambda: reader.add_comparisons(campaign_id, ROWS),
            lambda: reader.import_file(campaign_id, FIXTURES / "trl.jsonl"),
            lambda: reader.start_export("x", ["demo"]),
            reader.exports,
            reader.webhooks,
        ):
            with pytest.raises(ApiError, match="lacks the scope") as raised:
                refused()
            assert raised.value.status == 403
    with service.client("nobody's") as stranger, pytest.raises(ApiError) as raised:
        stranger.campaigns()
    assert (raised.value.status, raised.value.code) == (401, "not_signed_in")


class Lossy(httpx.BaseTransport):
    """The service answers, and the answer is lost on its way back."""

    def __init__(self, inner, losses):
        self.inner, self.losses, self.requests = inner, losses, []

    def handle_request(self, request):
        self.requests.append(request)
        answer = self.inner.handle_request(request)
        if self.losses:
            self.losses -= 1
            answer.close()
            raise httpx.ReadError("the line broke")
        return answer


def test_an_answer_that_was_lost_is_asked_for_again_and_the_work_done_once(service):
    desk = service.desk
    desk.campaign()
    lossy = Lossy(service.transport, losses=2)
    with Client("http://testserver", "all", transport=lossy, sleep=lambda _: None) as client:
        begun = client.start_export("june", ["demo"])
        assert len({request.headers["Idempotency-Key"] for request in lossy.requests}) == 1
        assert len(lossy.requests) == 3
        assert [e.id for e in client.exports()] == [begun.id]
        lossy.losses = 1
        hook = client.add_webhook("https://example.org/in", ["export.done"])
        (row,) = desk.rows(webhook)
        assert (hook.id, hook.secret) == (row["id"], derived_secret(b"service key", row["salt"]))


def test_a_key_is_for_one_request(service):
    service.desk.campaign()
    headers = {"Authorization": "Bearer all", "Idempotency-Key": "one-key"}
    first = service.http.post("/api/v1/exports", json={"name": "a", "campaigns": ["demo"]}, headers=headers)
    same = service.http.post("/api/v1/exports", json={"name": "a", "campaigns": ["demo"]}, headers=headers)
    other = service.http.post("/api/v1/exports", json={"name": "b", "campaigns": ["demo"]}, headers=headers)
    assert (first.status_code, same.status_code, other.status_code) == (202, 202, 409)
    assert first.json() == same.json()


def test_nobody_there_is_said_after_so_many_attempts():
    pauses = []

    def refuse(request):
        raise httpx.ConnectError("refused")

    refusing = Client("http://x", "t", attempts=4, transport=httpx.MockTransport(refuse), sleep=pauses.append)
    with refusing as client, pytest.raises(TruingError, match=r"tried 4 times.*truing collect"):
        client.campaigns()
    assert pauses == [0.5, 1.0, 2.0]


def test_a_service_that_is_busy_is_asked_again_and_a_redirect_is_not_followed():
    answers = [httpx.Response(503), httpx.Response(429), httpx.Response(200, json=[])]
    with Client("http://x", "t", transport=httpx.MockTransport(lambda _: answers.pop(0)), sleep=lambda _: None) as client:
        assert client.campaigns() == []
    moved = httpx.MockTransport(lambda _: httpx.Response(307, headers={"Location": "https://elsewhere"}))
    with Client("http://x", "t", transport=moved) as client, pytest.raises(ApiError, match="redirect to https://elsewhere"):
        client.campaigns()


def test_a_damaged_file_is_not_kept(service, client, tmp_path, monkeypatch):
    desk = service.desk
    desk.items(desk.campaign(overlap=1), 2)
    desk.work(1, desk.rater("fern"), 2)
    begun = client.start_export("june", ["demo"])
    service.worker.run_exports()
    path = desk.folder / "june" / "judgments.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(TruingError, match=r"judgments\.parquet came damaged"):
        client.download(begun.id, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_files_outside_an_export_are_not_served(service, client):
    desk = service.desk
    desk.items(desk.campaign(overlap=1), 2)
    desk.work(1, desk.rater("fern"), 2)
    begun = client.start_export("june", ["demo"])
    headers = {"Authorization": "Bearer all"}
    assert service.http.get(f"/api/v1/exports/{begun.id}/files/set.json", headers=headers).status_code == 409
    service.worker.run_exports()
    assert service.http.get(f"/api/v1/exports/{begun.id}/files/set.json", headers=headers).status_code == 200
    (service.desk.folder / "june").rename(service.desk.folder / "elsewhere")
    assert service.http.get(f"/api/v1/exports/{begun.id}/files/manifest.json", headers=headers).status_code == 404
    for path in ("..%2Fservice.db", "../service.db", "%2Fetc%2Fpasswd", "none.parquet"):
        assert service.http.get(f"/api/v1/exports/{begun.id}/files/{path}", headers=headers).status_code == 404


def test_an_export_that_fails_says_why(service, client):
    service.desk.campaign()
    begun = client.start_export("empty", ["demo"])
    service.worker.run_exports()
    with pytest.raises(TruingError, match="'empty' failed: service: there are no judgments"):
        client.wait_for_export(begun.id)
    assert len(service.desk.rows(judgment)) == 0


def test_webhooks_are_made_listed_and_removed(service, client):
    hook = client.add_webhook("https://example.org/in", ["export.done"])
    assert hook.secret
    assert [(w.id, w.secret) for w in client.webhooks()] == [(hook.id, None)]
    assert client.deliveries(hook.id) == []
    client.remove_webhook(hook.id)
    assert client.webhooks() == []
    with pytest.raises(ApiError, match="write https"):
        client.add_webhook("gopher://example.org", ["export.done"])
    with pytest.raises(ApiError) as raised:
        client.add_webhook("https://example.org/in", ["everything"])
    assert raised.value.status == 422
