"""Tries many inputs on the parsers: the number of an input is all that is needed to make it again.

    python tests/fuzz/fuzzing.py --inputs 10000000 --json fuzz.json      # `make fuzz`
    python tests/fuzz/fuzzing.py --parser http --seed 3 --inputs 1000    # one parser, other inputs
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from mutations import mutated  # noqa: E402
from parsers import SLOW_S, all_parsers  # noqa: E402

BLOCK = 1000  # inputs of one random stream


class Slow(Exception):
    """A parser took too long."""


def _alarm(*_):
    raise Slow


def tried(name, parser, seed, first, count):
    """Inputs from a number on: how many were refused, and what was raised that should not be, with its input."""
    refused, faults = 0, {}
    for block in range(first // BLOCK, -(-(first + count) // BLOCK)):
        rng = random.Random(f"{seed}/{name}/{block}")
        for number in range(block * BLOCK, min((block + 1) * BLOCK, first + count)):
            data = mutated(rng, parser.corpus)
            if number < first:
                continue
            signal.setitimer(signal.ITIMER_REAL, SLOW_S)
            try:
                parser.parse(data)
            except parser.refusals:
                refused += 1
            except Exception as error:
                at = error.__traceback__
                while at.tb_next:
                    at = at.tb_next
                place = f"{type(error).__name__} in {Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}"
                faults.setdefault(place, (number, data, str(error)[:200]))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    return refused, faults


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--inputs", type=int, default=1_000_000, help="of all parsers together")
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--parser", action="append", help="only this one")
    ask.add_argument("--limit-s", type=float, default=float("inf"), help="ends after so long, whatever was tried")
    ask.add_argument("--json", type=Path)
    asked = ask.parse_args()
    signal.signal(signal.SIGALRM, _alarm)
    os.fsync = lambda _: None
    began_s, counts, refusals, spent_s, faults = time.monotonic(), Counter(), Counter(), Counter(), {}
    with tempfile.TemporaryDirectory() as folder:
        parsers = {n: p for n, p in all_parsers(Path(folder)).items() if not asked.parser or n in asked.parser}
        rounds = -(-asked.inputs // (BLOCK * sum(p.weight for p in parsers.values())))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for turn in range(rounds):
            if time.monotonic() - began_s > asked.limit_s:
                break
            for name, parser in parsers.items():
                start_s = time.monotonic()
                refused, found = tried(name, parser, asked.seed, turn * BLOCK * parser.weight, BLOCK * parser.weight)
                counts[name] += BLOCK * parser.weight
                refusals[name] += refused
                spent_s[name] += time.monotonic() - start_s
                for place, (number, data, text) in found.items():
                    if (name, place) not in faults:
                        faults[name, place] = number, data.hex(), text
                        print(f"{name}: {place}: {text} (input {number}, {len(data)} bytes: {data[:80]!r})", flush=True)
            print(f"{counts.total()} inputs, {time.monotonic() - began_s:.0f} s, {len(faults)} faults", flush=True)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, count in counts.items():
        print(f"{name:18} {count:9} inputs, {refusals[name] / count:4.0%} refused, {spent_s[name] / count * 1e6:6.0f} us each")
    print(f"{counts.total()} inputs, {len(faults)} faults, memory {before // 1024} -> {after // 1024} MiB at most")
    if asked.json:
        rows = [{"parser": n, "inputs": c, "refused": refusals[n], "faults": sum(k[0] == n for k in faults),
                 "mean_us": spent_s[n] / c * 1e6} for n, c in counts.items()]
        asked.json.write_text(json.dumps({"seed": asked.seed, "rows": rows, "memory_mib": [before // 1024, after // 1024],
                                          "faults": [[*k, *v] for k, v in faults.items()]}, indent=1) + "\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
