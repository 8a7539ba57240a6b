"""The journal: whole lines only, whatever byte it was torn at; segments; a full disk; one leader."""

import errno
import itertools
import json
import os
import subprocess
import sys

import pytest

from runtime.autoscaler import journal as journal_module
from runtime.autoscaler import lease as lease_module
from runtime.autoscaler.journal import Journal, JournalError, newest_first
from runtime.autoscaler.lease import FileLease

RECORDS = [{"type": "intent", "n": 1, "text": "größer\nzwei Zeilen"}, {"type": "outcome", "n": 2}, {"type": "intent", "n": 3}]


def written(folder, records=RECORDS):
    journal = Journal(folder)
    for record in records:
        journal.append(record)
    journal.close()
    [path] = folder.glob("*.jsonl")
    return journal.id, path


def test_what_was_appended_is_read_the_newest_first(tmp_path):
    id_, _ = written(tmp_path)
    head, *rest = [*newest_first(tmp_path)][::-1]
    assert (head["type"], head["id"], rest) == ("journal", id_, RECORDS)


def test_torn_at_any_byte_it_keeps_the_whole_lines_and_goes_on(tmp_path):
    id_, path = written(tmp_path / "whole")
    text = path.read_bytes()
    ends = [0, *itertools.accumulate(len(line) + 1 for line in text.split(b"\n")[:-1])]
    for length in range(len(text) + 1):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / path.name).write_bytes(text[:length])
        whole = sum(end <= length for end in ends[1:])
        assert len([*newest_first(folder)]) == whole  # as somebody else reads it, before it is opened again
        journal = Journal(folder)
        journal.append({"type": "start"})
        journal.close()
        head, *rest = [*newest_first(folder)][::-1]
        assert rest == [*RECORDS[:max(0, whole - 1)], {"type": "start"}]
        assert (head["id"] == id_) == (whole > 0)
        assert (folder / path.name).read_bytes().startswith(text[:ends[whole]])


def test_a_new_segment_follows_a_full_one_and_the_oldest_go(tmp_path):
    journal = Journal(tmp_path, segment_bytes=200, segments_kept=3)
    for n in range(60):
        journal.append({"type": "intent", "n": n})
    journal.close()
    paths = sorted(tmp_path.glob("*.jsonl"))
    assert len(paths) == 3 and int(paths[-1].stem[-8:]) > 3
    assert all(200 <= path.stat().st_size < 260 for path in paths[:-1])
    numbers = [r["n"] for r in newest_first(tmp_path) if r["type"] == "intent"]
    assert numbers == list(range(59, 59 - len(numbers), -1)) and len(numbers) > 10
    assert {r["id"] for r in newest_first(tmp_path) if r["type"] == "journal"} == {journal.id}
    again = Journal(tmp_path, segment_bytes=200, segments_kept=3)
    again.append({"type": "intent", "n": 60})
    again.close()
    assert again.id == journal.id and next(newest_first(tmp_path))["n"] == 60


def test_a_segment_torn_in_its_first_line_takes_the_id_of_the_one_before(tmp_path):
    id_, _ = written(tmp_path)
    (tmp_path / "journal-00000002.jsonl").write_bytes(b'{"type":"jour')
    journal = Journal(tmp_path)
    journal.append({"n": 4})
    journal.close()
    assert journal.id == id_ and [r.get("n") for r in newest_first(tmp_path)][:3] == [4, None, 3]


def test_a_line_is_on_disk_when_append_returns(tmp_path, monkeypatch):
    journal, synced = Journal(tmp_path), []
    monkeypatch.setattr(journal_module.os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    journal.append({"n": 1})
    [path] = tmp_path.glob("*.jsonl")
    assert synced == [path.stat().st_size]
    journal.close()


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path, monkeypatch):
    journal, write = Journal(tmp_path), os.write

    def half(file, data):
        if len(data) < 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:len(data) // 2])

    monkeypatch.setattr(journal_module.os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        journal.append({"type": "intent", "text": "x" * 50})
    monkeypatch.undo()
    journal.append({"n": 2})  # there is room again
    journal.close()
    assert [r.get("n") for r in newest_first(tmp_path)] == [2, None]


def test_a_segment_that_was_begun_on_a_full_disk_gets_its_first_line_when_there_is_room(tmp_path, monkeypatch):
    journal = Journal(tmp_path, segment_bytes=100)
    journal.append({"type": "intent", "text": "x" * 80})
    with monkeypatch.context() as full:
        full.setattr(journal_module.os, "write", no_room)
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                journal.append({"n": 1})
    journal.append({"n": 2})
    journal.close()
    again = Journal(tmp_path)
    again.append({"n": 3})
    again.close()
    assert again.id == journal.id
    assert [r.get("n") for r in newest_first(tmp_path)] == [3, 2, None, None, None]


def no_room(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_nobody_from_leading(tmp_path, monkeypatch):
    first, second = FileLease(tmp_path), FileLease(tmp_path)
    assert first.hold()
    first.release()
    monkeypatch.setattr(lease_module.os, "write", no_room)
    monkeypatch.setattr(lease_module.os, "utime", no_room)
    assert second.hold() and second.hold() and not first.hold()
    monkeypatch.setattr(lease_module.os, "open", no_room)
    assert not first.hold() and second.hold()
    monkeypatch.undo()
    second.release()


def test_lines_that_are_no_json_are_passed_over(tmp_path):
    _, path = written(tmp_path)
    with path.open("ab") as file:
        file.write(b"\0\0\0\0\n[1]\n" + json.dumps({"n": 5}).encode() + b"\n")
    assert [r["n"] for r in newest_first(tmp_path) if "n" in r] == [5, 3, 2, 1]


@pytest.mark.parametrize("line, told", [
    (b'{"type":"journal","format":2,"id":"x"}\n', "journal, format 2, here 1; use the Tidal that wrote it, or a newer one$"),
    (b'{"type":"journal","format":0,"id":"x"}\n', "journal, format 0, here 1; give another folder$"),
    (b'{"type":"journal","format":1}\n', "not a journal; give another folder$"),
    (b"once upon a time\n", "not a journal"), (b"{}\n", "not a journal"),
])
def test_a_folder_with_something_else_is_refused(tmp_path, line, told):
    path = tmp_path / "journal-00000001.jsonl"
    path.write_bytes(line)
    with pytest.raises(JournalError, match=told):
        Journal(tmp_path)
    assert path.read_bytes() == line
    if b"format" in line and b"1}" not in line:  # who only reads is told the same
        with pytest.raises(JournalError, match=told):
            list(newest_first(tmp_path))


def test_one_lease_at_a_time(tmp_path):
    first, second = FileLease(tmp_path), FileLease(tmp_path)
    assert first.hold() and first.hold() and not second.hold()
    first.release()
    assert second.hold() and not first.hold()
    second.release()


def test_a_holder_that_is_silent_loses_its_lease_and_knows(tmp_path):
    now_s = 0.0
    holder, other = FileLease(tmp_path), FileLease(tmp_path, 6.0, lambda: now_s)
    assert holder.hold() and not other.hold()
    now_s = 5.0
    assert holder.hold() and not other.hold()  # it was touched
    now_s = 11.0
    assert not other.hold()  # just not too long
    now_s = 11.1
    assert other.hold() and other.usurped
    assert not holder.hold() and not holder.hold() and other.hold()
    other.release()
    assert holder.hold() and not holder.usurped and not other.hold()
    holder.release()


def test_the_lease_of_a_process_that_was_killed_is_free(tmp_path):
    code = ("import sys, time; from pathlib import Path; from runtime.autoscaler.lease import FileLease; "
            "assert FileLease(Path(sys.argv[1])).hold(); print('held', flush=True); time.sleep(60)")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=root, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        lease = FileLease(tmp_path)
        assert not lease.hold()
        process.kill()
        process.wait(30)
        assert lease.hold()
        lease.release()
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
