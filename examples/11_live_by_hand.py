"""A live cluster, scaled by hand: requests go on while its deployment changes under them.

    python examples/11_live_by_hand.py

`tidal serve` is gateway, reconciler and control API in one process; replicas are emulated here (`--models FILE`: real ones).
What is changed by hand is what an autoscaler changes: `tidal autoscale --actuator cluster`.
"""

import math
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[1]
ADDRESSES = ["--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0"]  # any free ports
SERVE = [sys.executable, "-m", "runtime", "serve", "--scenario", "live-demo", *ADDRESSES]


def ask(url: str, stop: threading.Event, answers: Counter[str]) -> None:
    """One request after the other; who answered is in the answer."""
    model = f"{url}/v2/models/classify"
    while requests.get(f"{model}/ready", timeout=10).status_code != 200:
        time.sleep(0.05)
    (wanted,) = requests.get(model, timeout=10).json()["inputs"]
    body = {"inputs": [{**wanted, "shape": [1, *wanted["shape"][1:]], "data": [1.0] * math.prod(wanted["shape"][1:])}]}
    while not stop.is_set():
        answer = requests.post(f"{model}/infer", json=body, timeout=30)
        answers[answer.json()["model_version"] if answer.ok else f"HTTP {answer.status_code}"] += 1


def main() -> None:
    """From one replica of the large model to two of the small one."""
    cluster = subprocess.Popen(SERVE, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        gateway, control = re.search(r"requests (\S+), control (\S+)", cluster.stdout.readline()).groups()
        stop, answers = threading.Event(), Counter()
        client = threading.Thread(target=ask, args=(gateway, stop, answers))
        client.start()
        time.sleep(2)
        print(f"answers: {dict(answers)}")

        now = requests.get(f"{control}/v1/deployment", timeout=10)
        (row,) = now.json()["deployment"]["replicas"]
        wanted = {"replicas": [{"kind": {**row["kind"], "variants": ["small"]}, "count": 2}]}
        change = {"deployment": {"routes": [], "thresholds": [], **wanted}, "decision_id": "by-hand-1", "reason": "a sale"}
        changed = requests.put(f"{control}/v1/deployment", json=change, headers={"If-Match": now.headers["ETag"]}, timeout=10)
        changed.raise_for_status()
        time.sleep(2)
        stop.set()
        client.join()
        print(f"answers: {dict(answers)}")
        for replica in requests.get(f"{control}/v1/replicas", timeout=10).json()["replicas"]:
            print(f"replica {replica['number']}: {replica['kind']['variants'][0]}, {replica['state']}")
    finally:
        cluster.terminate()
        cluster.wait()


if __name__ == "__main__":
    main()
