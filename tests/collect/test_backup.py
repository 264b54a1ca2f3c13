import shutil
import sqlite3
import threading

import pytest
from tests.collect.people_world import add_account, add_campaign, add_items, answer, take

from truing.collect.backup import backup
from truing.collect.database import open_database
from truing.collect.schema import judgment
from truing.errors import TruingError


@pytest.fixture
def service(tmp_path):
    opened = open_database(tmp_path / "collect.sqlite")
    yield opened
    opened.close()


def test_a_backup_taken_at_work_is_restored_whole(service, tmp_path):
    campaign_id = add_campaign(service, overlap=1)
    add_items(service, campaign_id, 3)
    rater = add_account(service, "rater-1")
    answer(service, rater, take(service, campaign_id, rater))
    in_hand = take(service, campaign_id, rater, now=30.0)
    assert backup(str(tmp_path / "collect.sqlite"), tmp_path / "kept.sqlite") > 0
    answer(service, rater, in_hand, now=40.0)  # after the backup: not in it
    restored_path = tmp_path / "restored" / "collect.sqlite"
    restored_path.parent.mkdir()
    shutil.copy(tmp_path / "kept.sqlite", restored_path)
    restored = open_database(restored_path)
    try:
        with restored.read() as connection:
            assert len(connection.execute(judgment.select()).all()) == 1
        unheard = [answer(restored, rater, in_hand, now=40.0) for _ in range(2)]  # sent again under its key
        assert unheard[0] == unheard[1]
        assert not unheard[0].is_surplus
        following = take(restored, campaign_id, rater, now=50.0)
        assert not answer(restored, rater, following, now=60.0).is_surplus
    finally:
        restored.close()


def test_nothing_is_overwritten_and_nothing_is_made_up(tmp_path):
    target = tmp_path / "kept.sqlite"
    target.write_text("mine")
    (tmp_path / "a.sqlite").touch()
    with pytest.raises(TruingError, match="is there already"):
        backup(str(tmp_path / "a.sqlite"), target)
    assert target.read_text() == "mine"
    with pytest.raises(TruingError, match="no such database"):
        backup(str(tmp_path / "none.sqlite"), tmp_path / "b.sqlite")
    with pytest.raises(TruingError, match="pg_dump"):
        backup("postgresql+psycopg://host/name", tmp_path / "b.sqlite")


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "a.sqlite").write_text("not a database at all, though long enough to have a header" * 10)
    with pytest.raises(TruingError, match="cannot be copied"):
        backup(str(tmp_path / "a.sqlite"), tmp_path / "b.sqlite")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.sqlite"]


def test_a_backup_ends_however_busily_the_service_writes(tmp_path):
    path, stop = tmp_path / "a.sqlite", threading.Event()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE filler (content BLOB)")
    connection.executemany("INSERT INTO filler VALUES (zeroblob(1000000))", [()] * 40)
    connection.commit()
    connection.close()

    def write_on():
        with sqlite3.connect(path, isolation_level=None) as writing:
            while not stop.is_set():
                writing.execute("INSERT INTO filler VALUES (zeroblob(10))")
        writing.close()

    writer = threading.Thread(target=write_on)
    copier = threading.Thread(target=backup, args=(str(path), tmp_path / "kept.sqlite"), daemon=True)
    writer.start()
    copier.start()
    copier.join(timeout=20)
    is_done = not copier.is_alive()
    stop.set()
    writer.join()
    assert is_done
