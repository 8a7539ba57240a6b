"""Two demonstrations do not write into one folder."""

import fcntl

import pytest

from runtime.demo.run import Demo


def test_a_second_run_leaves_the_first_ones_files_alone(tmp_path):
    journal = tmp_path / "journal" / "decisions.jsonl"
    journal.parent.mkdir()
    journal.write_text("{}\n")
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another live run writes into"):
            Demo(tmp_path, 20, show=None).run()
    assert journal.read_text() == "{}\n"
