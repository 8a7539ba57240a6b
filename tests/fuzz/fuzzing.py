"""Tries many inputs on the parsers, in as many pieces as one likes: what was tried, and what was found, is kept in a folder.

    python tests/fuzz/fuzzing.py --inputs 10000000               # `make fuzz`; goes on where it ended, until there are as many
    python tests/fuzz/fuzzing.py --parser http --limit-s 60      # more of one parser, for a minute

An input is made from its number, the seed, and the corpus in the folder. Those at fault are kept whole.
"""

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from growing import grown  # noqa: E402
from mutations import mutated  # noqa: E402
from parsers import SLOW_S, all_parsers  # noqa: E402

ROOT = Path(__file__).parents[2]
BLOCK = 1000  # inputs of one random stream
LOOKED_AT = 300  # inputs that a piece begins with, to grow the corpus


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
            signal.setitimer(signal.ITIMER_PROF, SLOW_S)
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
                signal.setitimer(signal.ITIMER_PROF, 0)
    return refused, faults


class Kept:
    """What was tried so far, in a file; written after each round.

    Attributes:
        counts, refusals, spent_s: by parser.
        commits: inputs, by the commit that they were tried on.
        corpus: by parser, hexadecimal: what it grew to beside the good inputs.
        lines: by parser: reached by the good inputs, and by all.
        faults: by parser, place and commit: number, input, text.
        memory_mib: most that any piece needed.
    """

    def __init__(self, path, seed):
        self._path = path
        said = json.loads(path.read_text()) if path.is_file() else {}
        self.seed = said.get("seed", seed)
        self.counts, self.refusals, self.spent_s, self.commits = (
            Counter(said.get(name, {})) for name in ("counts", "refusals", "spent_s", "commits"))
        self.corpus, self.lines, self.faults = (said.get(name, {}) for name in ("corpus", "lines", "faults"))
        self.memory_mib = said.get("memory_mib", 0)

    def write(self):
        self.memory_mib = max(self.memory_mib, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        said = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(said, indent=1) + "\n")
        new.replace(self._path)

    def grow(self, name, parser):
        """The parser with the corpus that it has now."""
        rng = random.Random(f"{self.seed}/{name}/grows/{self.counts[name]}")
        more, *self.lines[name] = grown(parser, map(bytes.fromhex, self.corpus.get(name, ())), rng, LOOKED_AT * parser.weight)
        self.corpus[name] = [data.hex() for data in more]
        return replace(parser, corpus=parser.corpus + more)

    def piece(self, name, parser, commit):
        """Tries the next inputs of a parser."""
        count, start_s = BLOCK * parser.weight, time.process_time()
        refused, found = tried(name, parser, self.seed, self.counts[name], count)
        self.counts[name] += count
        self.refusals[name] += refused
        self.commits[commit] += count
        self.spent_s[name] += time.process_time() - start_s
        for place, (number, data, text) in found.items():
            if self.faults.setdefault(f"{name}: {place} ({commit})", [number, data.hex(), text])[0] == number:
                print(f"{name}: {place}: {text} (input {number}, {len(data)} bytes: {data[:80]!r})", flush=True)

    def told(self):
        for name, count in self.counts.items():
            good, all_ = self.lines[name]
            print(f"{name:18} {count:9} inputs, {self.refusals[name] / count:4.0%} refused, "
                  f"{self.spent_s[name] / count * 1e6:6.0f} us each, {good} -> {all_} lines reached")
        print(f"{self.counts.total()} inputs over {len(self.commits)} commits, {len(self.faults)} faults, "
              f"at most {self.memory_mib} MiB")


def _commit():
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--inputs", type=int, default=10_000_000, help="of all parsers, in all pieces together")
    ask.add_argument("--seed", type=int, default=0, help="of a folder that is new")
    ask.add_argument("--parser", action="append", help="only this one")
    ask.add_argument("--limit-s", type=float, default=float("inf"), help="this piece ends after so long")
    ask.add_argument("--folder", type=Path, default=ROOT / "runs" / "fuzz")
    asked = ask.parse_args()
    signal.signal(signal.SIGPROF, _alarm)
    os.fsync = lambda _: None
    asked.folder.mkdir(parents=True, exist_ok=True)
    kept, ends_s, commit = Kept(asked.folder / "fuzz.json", asked.seed), time.monotonic() + asked.limit_s, _commit()
    with tempfile.TemporaryDirectory() as folder:
        parsers = {name: kept.grow(name, parser) for name, parser in all_parsers(Path(folder)).items()
                   if not asked.parser or name in asked.parser}
        while kept.counts.total() < asked.inputs and time.monotonic() < ends_s:
            for name, parser in parsers.items():
                kept.piece(name, parser, commit)
            kept.write()
            print(f"{kept.counts.total()} inputs, {len(kept.faults)} faults", flush=True)
    kept.told()
    return bool(kept.faults)


if __name__ == "__main__":
    sys.exit(main())
