import errno
from pathlib import Path

import pytest

from truing.config import Config
from truing.errors import TruingError
from truing.records import Message
from truing.store.artifacts import Artifact, Draft, Store, verify
from truing.store.files import disk_errors, read_records, truncate_lines, write_records


class Settings(Config):
    rate: float = 0.5


def publish(store: Store, name: str = "sft", rate: float = 0.5) -> Artifact:
    draft = store.begin("sft", name, Settings(rate=rate), {"model": "abc"})
    assert isinstance(draft, Draft)
    (draft.path / "weights.txt").write_text("w")
    return draft.publish({"loss": 1.0})


def test_an_artifact_appears_whole_with_its_manifest(tmp_path: Path) -> None:
    artifact = publish(Store(tmp_path))
    assert artifact.path == tmp_path / "sft"
    assert [f.path for f in artifact.manifest.files] == ["weights.txt"]
    assert not (tmp_path / "sft.partial").exists()
    assert verify(artifact) == []


def test_the_same_work_is_recognised_and_other_work_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = publish(store)
    again = store.begin("sft", "sft", Settings(), {"model": "abc"})
    assert isinstance(again, Artifact)
    assert again.artifact_hash == first.artifact_hash
    with pytest.raises(TruingError, match="other settings"):
        store.begin("sft", "sft", Settings(rate=0.1), {"model": "abc"})


def test_a_killed_draft_needs_resume_and_the_same_settings(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin("sft", "sft", Settings(), {})
    with pytest.raises(TruingError, match="--resume"):
        store.begin("sft", "sft", Settings(), {})
    with pytest.raises(TruingError, match="other settings"):
        store.begin("sft", "sft", Settings(rate=0.1), {}, resume=True)
    draft = store.begin("sft", "sft", Settings(), {}, resume=True)
    assert isinstance(draft, Draft)
    assert draft.resumed


def test_equal_work_has_an_equal_hash_and_changed_files_are_noticed(tmp_path: Path) -> None:
    first = publish(Store(tmp_path / "a"))
    second = publish(Store(tmp_path / "b"))
    assert first.artifact_hash == second.artifact_hash
    (first.path / "weights.txt").write_text("tampered")
    assert verify(first) == ["weights.txt"]


def test_find_takes_names_and_hash_prefixes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    artifact = publish(store)
    assert store.find("sft").artifact_hash == artifact.artifact_hash
    assert store.find(artifact.artifact_hash[:10]).path == artifact.path
    with pytest.raises(TruingError, match="no artifact called 'nothing'"):
        store.find("nothing")


def test_two_runs_in_one_directory_are_refused(tmp_path: Path) -> None:
    lock = Store(tmp_path).lock()
    with pytest.raises(TruingError, match="another run"):
        Store(tmp_path).lock()
    lock.release()
    Store(tmp_path).lock().release()


def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TruingError, match=r"disk is full.*--resume"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_malformed_row_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_records(path, [Message(role="user", content="hi")])
    with path.open("a") as file:
        file.write('{"role": "user"}\n')
    with pytest.raises(TruingError, match=r"rows\.jsonl:2: field 'content'"):
        read_records(path, Message)


def test_truncate_keeps_the_first_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("a\nb\nc\n")
    truncate_lines(path, 2)
    assert path.read_text() == "a\nb\n"


def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"role": "user", "content": "a"}\n\n{"role": "king", "content": "b"}\n')
    with pytest.raises(TruingError, match=r"rows\.jsonl:4: field 'role'"):
        read_records(path, Message)
