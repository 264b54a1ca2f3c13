"""A client of the collection service's API.

    from truing.collect.client import Client

    with Client("http://127.0.0.1:8000", token) as client:
        campaign = client.campaign("june")
        client.add_comparisons(campaign.id, comparisons)
        exported = client.wait_for_export(client.start_export("june-1", ["june"]).id)
        artifact = client.download(exported.id, "sets/june-1")

Every request that changes something carries a key of its own and is tried again under that key where the service did not answer,
so that it is done once. Errors say what the service said.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import JsonValue

from truing.collect.api_records import (
    BatchView,
    CampaignView,
    DeliveryView,
    ExportView,
    ImportResult,
    WebhookView,
)
from truing.collect.chat.replies import HeldReplies, ReplyRequest, ReplyRequests, ReplyState, WantedReplies, WrittenReply
from truing.errors import TruingError
from truing.records import Comparison, Record
from truing.store.artifacts import MANIFEST, Artifact, read_artifact, verify

CREDENTIAL_ENV = "TRUING_COLLECT_TOKEN"
IDEMPOTENCY_HEADER = "Idempotency-Key"
COMPARISONS_A_REQUEST = 500
RETRIED_STATUS = frozenset({429, 502, 503, 504})
RecordT = TypeVar("RecordT", bound=Record)


class ApiError(TruingError):
    """The service refused. `status` is HTTP's, `code` the service's own short word for it."""

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """`token` needs the scopes of what is asked for. `attempts` counts the first one; pauses between them double from 0.5 s."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float = 60.0,
        attempts: int = 5,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "truing-client"}
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/api/v1", headers=headers, timeout=timeout_s, transport=transport)
        self._url = url
        self._attempts = attempts
        self._sleep = sleep

    @classmethod
    def from_environment(cls, url: str, variable: str = CREDENTIAL_ENV, **options: Any) -> Self:
        """A client whose token an environment variable holds. Raises TruingError where it is not set."""
        token = os.environ.get(variable)
        if not token:
            raise TruingError(
                f"the service at {url} needs a token: an administrator makes one there (People, API tokens; scopes read, "
                f"campaigns, export; for a worker, replies). Put it into the environment variable {variable}"
            )
        return cls(url, token, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def campaigns(self) -> list[CampaignView]:
        """Every campaign, newest first."""
        return self._list("GET", "/campaigns", CampaignView)

    def campaign(self, name: str) -> CampaignView:
        """A campaign by name. Raises TruingError naming those there are."""
        found = {campaign.name: campaign for campaign in self.campaigns()}
        if name not in found:
            raise TruingError(f"{self._url}: there is no campaign {name!r} (there: {', '.join(sorted(found)) or 'none'})")
        return found[name]

    def add_comparisons(self, campaign_id: int, comparisons: Sequence[Comparison], *, batch: str = "") -> ImportResult:
        """Have comparisons judged. Those whose id the campaign has already are left as they are. `batch` names them together."""
        total = ImportResult(items=0)
        for start in range(0, len(comparisons), COMPARISONS_A_REQUEST):
            part = [c.model_dump(mode="json") for c in comparisons[start : start + COMPARISONS_A_REQUEST]]
            added = self._one(
                "POST", f"/campaigns/{campaign_id}/comparisons", ImportResult, json={"comparisons": part, "batch": batch}
            )
            total = ImportResult(items=total.items + added.items, present=total.present + added.present)
        return total

    def import_file(
        self,
        campaign_id: int,
        path: str | Path,
        *,
        format_name: str | None = None,
        fields: Mapping[str, str] | None = None,
        with_judgments: bool = False,
        drop_bad_rows: bool = False,
    ) -> ImportResult:
        """Send a file in any known format; its comparisons become items, and `with_judgments` its judgments answers.

        Raises TruingError where there is no such file.
        """
        path = Path(path)
        if not path.is_file():
            raise TruingError(f"{path}: no such file")
        options = {f"field_{key}": name for key, name in (fields or {}).items()}
        options |= {"format": format_name} if format_name else {}
        options |= {"file_name": path.name, "judgments": str(with_judgments).lower(), "drop_bad_rows": str(drop_bad_rows).lower()}
        body = path.read_bytes()
        return self._one("POST", f"/campaigns/{campaign_id}/imports", ImportResult, params=options, content=body)

    def batch(self, campaign_id: int, batch: str) -> BatchView:
        """How far a batch of comparisons is."""
        return self._one("GET", f"/campaigns/{campaign_id}/batches/{quote(batch)}", BatchView)

    def start_export(
        self, name: str, campaigns: Sequence[str], *, batches: Sequence[str] = (), pairs: Sequence[str] = ()
    ) -> ExportView:
        """Freeze what the campaigns (or only these batches in them) have now; the set is written in the background."""
        wanted = {"name": name, "campaigns": list(campaigns), "batches": list(batches), "pairs": list(pairs)}
        return self._one("POST", "/exports", ExportView, json=wanted)

    def exports(self) -> list[ExportView]:
        """Every export, newest first."""
        return self._list("GET", "/exports", ExportView)

    def export(self, export_id: int) -> ExportView:
        """How far an export is."""
        return self._one("GET", f"/exports/{export_id}", ExportView)

    def wait_for_export(self, export_id: int, *, timeout_s: float = 3600.0, every_s: float = 1.0) -> ExportView:
        """Ask until an export is done. Raises TruingError where it failed, or is not done in time."""
        ends = time.monotonic() + timeout_s
        while True:
            found = self.export(export_id)
            if found.state == "done":
                return found
            if found.state == "failed":
                raise TruingError(f"{self._url}: export {found.name!r} failed: {found.error}")
            if time.monotonic() >= ends:
                raise TruingError(
                    f"{self._url}: export {found.name!r} is still {found.state} after {timeout_s:g} s; ask again later"
                )
            self._sleep(every_s)

    def download(self, export_id: int, folder: str | Path) -> Artifact:
        """Fetch a finished export into `folder`, whole or not at all, every file checked against its hash.

        Raises TruingError where the folder is there already, or a file came damaged.
        """
        folder, found = Path(folder), self.export(export_id)
        if found.state != "done":
            raise TruingError(f"{self._url}: export {found.name!r} is {found.state}; wait until it is done")
        if folder.exists():
            raise TruingError(f"{folder}: is there already; name another folder for the export")
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for name in (*(entry.path for entry in found.files), MANIFEST):
            self._fetch(f"/exports/{export_id}/files/{quote(name)}", partial / name)
        damaged = verify(read_artifact(partial))
        if damaged:
            raise TruingError(f"{partial}: {', '.join(damaged)} came damaged; download again")
        partial.rename(folder)
        return read_artifact(folder)

    def take_replies(self, policies: Sequence[str], limit: int = 8) -> tuple[ReplyRequest, ...]:
        """Answers that live chats wait for, of these policies; each is to be finished. Empty where nobody waits."""
        wanted = WantedReplies(policies=tuple(policies), limit=limit)
        return self._one("POST", "/replies/take", ReplyRequests, json=wanted.model_dump(mode="json")).requests

    def renew_replies(self, reply_ids: Sequence[int]) -> None:
        """Say that what was taken is still being worked on; without a word for a minute, it is offered to another worker."""
        self._send("POST", "/replies/renew", json=HeldReplies(reply_ids=tuple(reply_ids)).model_dump(mode="json"))

    def finish_reply(self, reply_id: int, written: WrittenReply) -> ReplyState:
        """Bring an answer, or say why there is none."""
        return self._one("POST", f"/replies/{reply_id}", ReplyState, json=written.model_dump(mode="json"))

    def add_webhook(self, url: str, actions: Sequence[str]) -> WebhookView:
        """Have events posted to a URL; the answer holds the secret that they are signed with, shown this once."""
        return self._one("POST", "/webhooks", WebhookView, json={"url": url, "actions": list(actions)})

    def webhooks(self) -> list[WebhookView]:
        """Every webhook in use."""
        return self._list("GET", "/webhooks", WebhookView)

    def deliveries(self, webhook_id: int) -> list[DeliveryView]:
        """A webhook's latest deliveries, newest first."""
        return self._list("GET", f"/webhooks/{webhook_id}/deliveries", DeliveryView)

    def remove_webhook(self, webhook_id: int) -> None:
        """Post nothing there any more."""
        self._send("DELETE", f"/webhooks/{webhook_id}")

    def _one(self, method: str, path: str, cls: type[RecordT], **request: Any) -> RecordT:
        return cls.model_validate_json(self._send(method, path, **request).content)

    def _list(self, method: str, path: str, cls: type[RecordT]) -> list[RecordT]:
        return [cls.model_validate(row) for row in self._send(method, path).json()]

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send until the service answers, under one key. Raises ApiError for a refusal, TruingError where nobody answers."""
        headers = {} if method == "GET" else {IDEMPOTENCY_HEADER: secrets.token_urlsafe(18)}
        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(0.5 * 2 ** (attempt - 1))
            try:
                answer = self._http.request(method, path, headers=headers, **request)
            except httpx.TransportError as error:
                problem = f"no answer ({type(error).__name__}: {error})"
                continue
            if answer.status_code not in RETRIED_STATUS:
                return _checked(answer, self._url)
            problem = f"answered {answer.status_code}"
        raise TruingError(
            f"{self._url}: {problem}, tried {self._attempts} times. Is the service running there? (`truing collect`)"
        )

    def _fetch(self, path: str, target: Path) -> None:
        """Stream one file to disk; begun anew where the connection breaks."""
        target.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(0.5 * 2 ** (attempt - 1))
            try:
                with self._http.stream("GET", path) as answer, target.open("wb") as file:
                    if answer.is_error:
                        answer.read()
                    _checked(answer, self._url)
                    file.writelines(answer.iter_bytes())
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            return
        raise TruingError(f"{self._url}: {path} broke off {self._attempts} times ({problem}); try again later")


def _checked(answer: httpx.Response, url: str) -> httpx.Response:
    """The answer, where it is no refusal."""
    if not answer.is_error:
        if answer.is_redirect:
            raise ApiError(
                f"{url}: answers with a redirect to {answer.headers.get('location')}: give that URL",
                answer.status_code,
                "redirect",
            )
        return answer
    try:
        told: dict[str, JsonValue] = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        told = {}
    message, code = str(told.get("message") or answer.reason_phrase), str(told.get("code") or "")
    raise ApiError(f"{url}: {message}", answer.status_code, code)
