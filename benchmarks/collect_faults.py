"""The collection service in trouble, made for real: what is lost, and what the rater is told.

    python -m benchmarks.collect_faults --json
    python -m benchmarks.collect_faults --json --only disk_full restore
    python -m benchmarks.collect_faults --json --only migration --judgments 1000000 --postgresql

| fault | what happens |
|---|---|
| disk_full | the database's disk fills up while raters work (a small tmpfs; and a limit on files' sizes, which needs no rights) |
| clock | the service's clock jumps an hour forward and back, twice, while raters hold items |
| stale_tab | answers from pages that time has passed by |
| restore | the database is destroyed while raters work, and a backup taken while they worked is put in its place |
| migration | 1,000,000 judgments go up from the first schema, down and up again, killed with SIGKILL on the way |

Raters are simulated and speak HTTP. The service is `truing collect` in a process of its own, except where its clock has to jump:
there the same application is served from this process, with the clock that `create_app` takes.
The last line of `--json` has a key for each fault; the exit code is 1 where one of them lost something.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.collect_load import Server, audit, prepare
from benchmarks.machine import describe
from benchmarks.service.faults import (
    FileLimit,
    ServerHere,
    SmallDisk,
    given,
    guided_campaign,
    new_token,
    people,
    publish,
    temporary_files_in,
    told,
    versions_judged_under,
)
from benchmarks.service.migration import migration

HOUR_S = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--judgments", type=int, default=1_000_000, help="how many the migration finds")
    parser.add_argument("--postgresql", action="store_true", help="the migration on a PostgreSQL of its own too")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, last")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    for name in arguments.only:
        with tempfile.TemporaryDirectory(prefix=f"collect-{name}-") as folder:
            result[name] = FAULTS[name](Path(folder), arguments)
        print(f"{name}: {json.dumps(result[name], indent=2)}", file=sys.stderr)
    result["machine"] = describe()
    if arguments.json:
        print(json.dumps(result))
    sys.exit(1 if any(_lost(found) for found in result.values()) else 0)


def _lost(found: Any) -> bool:
    """Whether any part of a result counts something lost, doubled, or beyond need without its flag."""
    if not isinstance(found, dict):
        return False
    counts = ("lost", "duplicates", "unflagged_surplus", "wrong_answers", "content_changed")
    return any(found.get(name) for name in counts) or any(_lost(part) for part in found.values())


def disk_full(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    kinds = (SmallDisk, FileLimit)
    return {kind.HOW: kind.missing() or asyncio.run(_disk_full(folder / kind.__name__, kind)) for kind in kinds}


async def _disk_full(folder: Path, kind: type[SmallDisk] | type[FileLimit]) -> dict[str, Any]:
    folder.mkdir()
    acknowledged: dict[str, Any] = {}
    with kind(folder) as disk, temporary_files_in(disk.path):
        database = str(disk.path / "collect.sqlite")
        campaign_id = prepare(database, 4, 3000)
        token = new_token(database)
        async with people(database, folder, campaign_id, 4) as (server, raters):
            for rater in raters:
                await rater.work(acknowledged, 10)
            before = len(acknowledged)
            held = [await rater.must_take() for rater in raters]
            disk.fill(server)
            refused = [await rater.work_until_refused(one, acknowledged) for rater, one in zip(raters, held, strict=True)]
            found = {
                "acknowledged_before": before,
                "acknowledged_while_full": len(acknowledged) - before,
                "refused": sorted({told(answer) for _, answer in refused}),
                "health_while_full": told(await raters[0].get("/health")),
                "upload_while_full": told(await raters[0].upload(campaign_id, token)),
                "wrong_answers": 0,
            }
            for rater, (sent, first) in zip(raters, refused, strict=True):
                found["wrong_answers"] += {first.status, (await rater.send(sent)).status} != {507}
            disk.free(server)
            for rater, (sent, _) in zip(raters, refused, strict=True):
                first, second = [(await rater.send(sent)).json() for _ in range(2)]
                found["wrong_answers"] += first != second
                acknowledged[sent["idempotency_key"]] = first
            found["health_afterwards"] = told(await raters[0].get("/health"))
            if kind is SmallDisk:
                disk.fill(server)
                server.kill()
                found["started_while_full"] = await _started(server, folder)
                server.kill()
                disk.free(server)
                await server.start()
            for rater in raters:
                await rater.work(acknowledged, 5)
        return {**found, **_kept(audit(database, acknowledged))}


async def _started(server: Server, folder: Path) -> str:
    """Whether the service starts, or what it says instead."""
    try:
        await asyncio.wait_for(server.start(), 15.0)
    except RuntimeError:
        return (folder / "server.log").read_text().strip().splitlines()[-1]
    return "it starts"


def clock(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    return asyncio.run(_clock(folder))


async def _clock(folder: Path) -> dict[str, Any]:
    database = str(folder / "collect.sqlite")
    campaign_id = prepare(database, 12, 900)
    server = ServerHere(database, folder)
    acknowledged: dict[str, Any] = {}
    undone: dict[str, Any] = {}
    async with people(database, folder, campaign_id, 12, server) as (_, raters):
        work = [asyncio.create_task(rater.work(acknowledged, 10_000, think_s=0.05)) for rater in raters[1:]]
        watcher = raters[0]
        for shift_s in (HOUR_S, -HOUR_S, -HOUR_S, HOUR_S):
            goal = len(acknowledged) + 180
            (answered,) = await watcher.work(acknowledged, 1)
            held = await watcher.must_take()
            await watcher.draft(held, "before the jump")
            server.shift_s += shift_s
            page = await watcher.get(f"/rate/task/{held.lease_id}")
            undone[f"{shift_s:+.0f} s, {len(undone)}"] = {
                "draft_kept": "before the jump" in page.text,
                "undo": told(await watcher.undo(answered)),
            }
            while len(acknowledged) < goal and not all(task.done() for task in work):
                await asyncio.sleep(0.01)
        await asyncio.gather(*work)
    spent = _spent(database, campaign_id)
    wrong = sum(not one["draft_kept"] for one in undone.values()) + (spent["paid_s"] < 0.999 * spent["active_s"])
    return {
        "jumps": undone,
        **spent,
        "wrong_answers": wrong,
        "signed_out": sum(rater.signed_out for rater in raters),
        **_kept(audit(database, acknowledged)),
    }


def _spent(database: str, campaign_id: int) -> dict[str, float]:
    """Active seconds as raters' pages told them, and those that are paid."""
    from sqlalchemy import func, select

    from truing.collect.database import open_database
    from truing.collect.people import earnings
    from truing.collect.schema import judgment

    opened = open_database(database)
    with opened.read() as connection:
        told_s = connection.scalar(select(func.sum(judgment.c.active_s)).where(judgment.c.kind == "answer")) or 0.0
        paid_s = earnings.cost(connection, campaign_id).active_s
    opened.close()
    return {"active_s": round(told_s, 3), "paid_s": round(paid_s, 3)}


def restore(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    return asyncio.run(_restore(folder))


async def _restore(folder: Path) -> dict[str, Any]:
    database, copy = folder / "collect.sqlite", folder / "kept" / "june.sqlite"
    campaign_id = prepare(str(database), 21, 3000)
    acknowledged: dict[str, Any] = {}
    async with people(str(database), folder, campaign_id, 21) as (server, raters):
        *workers, last = raters
        unheard = await last.must_take()  # leased before the backup, answered after it, the acknowledgement never arrives
        work = [asyncio.create_task(rater.work(acknowledged, 10_000, think_s=0.1)) for rater in workers]
        await given(acknowledged, 400)
        before = dict(acknowledged)
        command = [sys.executable, "-m", "truing", "collect", "backup", str(copy), "--database", str(database)]
        backup = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        assert await backup.wait() == 0
        during = len(acknowledged) - len(before)
        await given(acknowledged, len(acknowledged) + 300)
        sent = unheard.submission()
        assert (await last.send(sent)).status == 200
        server.kill()
        _destroy(database)
        after_backup = set(acknowledged) - set(before)
        shutil.copy(copy, database)
        await server.start()
        again = [(await last.send(sent)) for _ in range(2)]
        await asyncio.gather(*work)
    kept = _kept(audit(str(database), {**before, sent["idempotency_key"]: again[0].json()}))
    everything = audit(str(database), acknowledged)
    return {
        "acknowledged_before_backup": len(before),
        "acknowledged_during_backup": during,
        "acknowledged_after_backup": len(after_backup),
        "unheard_answer": told(again[0]),
        "wrong_answers": int(again[0].status != 200 or again[0].json() != again[1].json()),
        "refused_after_restore": [told(answer) for rater in workers for answer in rater.refused][:1],
        "answers_refused_after_restore": sum(len(rater.refused) for rater in raters),
        **kept,
        "gone_with_the_database": everything["lost"],
    }


def _destroy(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path = database.with_name(database.name + suffix)
        path.write_bytes(b"\0" * 4096)
        path.unlink()


def stale_tab(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    return asyncio.run(_stale_tab(folder))


async def _stale_tab(folder: Path) -> dict[str, Any]:
    """Every answer that a rater gave is in the database; those beyond need are flagged; what is refused is said."""
    database = str(folder / "collect.sqlite")
    prepare(database, 3, 0)
    campaign_id = guided_campaign(database, 6)
    server = ServerHere(database, folder)
    async with people(database, folder, campaign_id, 3, server) as (_, raters):
        slow, quick, third = raters
        for rater in raters:
            await rater.confirm_guideline(1)
        first, second = await slow.must_take(), await third.must_take()
        server.shift_s += HOUR_S
        retaken = await quick.must_take()  # both leases have run out by now: this is the first one's item
        found = [("lease ran out, another rater holds the item", await slow.send(first.submission()), 200, True)]
        found += [("the other rater's answer, the one that was needed", await quick.send(retaken.submission()), 200, False)]
        elsewhere = {**first.submission(), "idempotency_key": "drawn-in-another-tab"}
        found += [("answered in another tab before", await slow.send(elsewhere), 409, None)]
        publish(database, "# Rating\n\n## Right {#right}\n\nRight wins, always.\n", after=1)
        found += [("guideline changed meanwhile", await third.send(second.submission()), 200, False)]
        await quick.confirm_guideline(2)
        held = await quick.must_take()
        await quick.sign_in()  # in another tab: the token of this page belongs to the session before
        found += [("signed in again in another tab", await quick.send(held.submission()), 403, None)]
        await quick.open()
        found += [("the same answer, once the page was loaded again", await quick.send(held.submission()), 200, False)]
        asked_to_read = "Something comes first" in (await third.get(f"/rate/{campaign_id}/next")).text
    wrong = [(a.status, a.json().get("is_surplus")) != (status, surplus) for _, a, status, surplus in found]
    versions = versions_judged_under(database)
    return {
        "answers": {name: told(answer) for name, answer, _, _ in found},
        "asked_to_read_the_new_guideline": asked_to_read,
        "wrong_answers": sum(wrong) + (not asked_to_read),
        "judgments_by_guideline_version": versions,
        "lost": 4 - sum(versions.values()),
    }


def _kept(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: found[name] for name in ("acknowledged", "judgments", "lost", "duplicates", "unflagged_surplus", "flagged_surplus")
    }


FAULTS = {"disk_full": disk_full, "clock": clock, "stale_tab": stale_tab, "restore": restore, "migration": migration}

if __name__ == "__main__":
    main()
