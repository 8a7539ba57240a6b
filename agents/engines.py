"""Where several trainings run at a time: in processes of this machine, or as tasks of a Ray cluster.

Each is `train.py --config FILE --name NAME` in a process of its own, so that it gives what it would give alone. One that was
interrupted goes on: its folder has what it needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml

HOUSE = Path(__file__).resolve().parents[1]
LEFT_HERE = [".git", ".venv", "out", "runs", "docs", "__pycache__"]  # what a Ray node needs nothing of
TRIES = 3  # of a task whose node is lost


class Job(NamedTuple):
    """One training.

    Attributes:
        folder: runs/NAME.
        config: see `train.py`'s config.yaml.
    """

    folder: Path
    config: Mapping[str, Any]


def begun(folder: Path) -> bool:
    """Whether it holds a run that can be gone on with."""
    return any((folder / name).exists() for name in ("checkpoint.pt", "state.json"))


def in_processes(jobs: Sequence[Job], at_once: int) -> list[int]:
    """Trains so many at a time, with their words behind their names. Returns the exit codes."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(_in_a_process, jobs))


def _in_a_process(job: Job) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        command = _command(job.folder, job.config, Path(scratch))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                print(f"[{job.folder.name}] {line}", end="", flush=True)
    return process.returncode


def _command(folder: Path, config: Mapping[str, Any], scratch: Path) -> list[str]:
    """What begins a training in runs/, or goes on with it."""
    train = [sys.executable, str(HOUSE / "train.py")]
    if begun(folder):
        return [*train, "--resume", str(folder)]
    file = scratch / "config.yaml"
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    return [*train, "--config", str(file), "--name", folder.name]


def on_ray(jobs: Sequence[Job], address: str | None) -> list[int]:
    """Trains each as a task of one CPU, as many at a time as the cluster has; their folders come here. Returns the exit codes.

    Args:
        jobs: all of them.
        address: of the cluster; None: what RAY_ADDRESS says, or one of this machine alone.

    Raises:
        ModuleNotFoundError: the extra `ray` is not installed.
        ConnectionError: no cluster is there.
    """
    import ray

    surroundings = {name: os.environ[name] for name in ("TIDAL_TRACES", "OMP_NUM_THREADS") if name in os.environ}
    ray.init(address, log_to_driver=False, include_dashboard=False, runtime_env={
        "working_dir": str(HOUSE), "excludes": LEFT_HERE, "env_vars": surroundings})
    try:
        task = ray.remote(num_cpus=1, max_retries=TRIES)(_on_a_node)
        under_way = {task.remote(job.folder.name, dict(job.config), _files(job.folder)): job for job in jobs}
        codes = {}
        while under_way:
            (done,), _ = ray.wait(list(under_way))
            job = under_way.pop(done)
            codes[job.folder], said, files = ray.get(done)
            for name, content in files.items():
                (job.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (job.folder / name).write_bytes(content)
            print("".join(f"[{job.folder.name}] {line}\n" for line in said.splitlines()), end="", flush=True)
        return [codes[job.folder] for job in jobs]
    finally:
        ray.shutdown()


def _on_a_node(name: str, config: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[int, str, dict[str, bytes]]:
    """Its exit code, its words, and what it leaves."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "runs" / name
        for part, content in files.items():
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            (folder / part).write_bytes(content)
        done = subprocess.run(_command(folder, config, Path(scratch)), cwd=scratch, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout, _files(folder)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
