"""`tidal autoscale`, again and again: each dies at a point of its first decision that changes something, the last does not.

They are forked from a process that has imported all they need, so that they start at once.

Points: before the intent is written; when half of it is; after it; after the action; when half of the outcome is; after it.
"""

import json
import os
import sys

import runtime.autoscaler.limits_file
import runtime.autoscaler.web
import runtime.sources.scrape  # noqa: F401
from runtime.__main__ import main
from runtime.actuators.cluster import ClusterActuator
from runtime.autoscaler.journal import Journal

POINTS = ("before-intent", "torn-intent", "after-intent", "after-action", "torn-outcome", "after-outcome")
DIED = 9


def die_at(point):
    """Has this process die there, as a crash would have it: nothing is closed, nothing flushed."""
    append, apply = Journal.append, ClusterActuator.apply
    deciding = []  # once a decision that changes something has begun

    def dying_append(journal, record):
        kind = record["type"]
        if kind == "intent" and record["acts"]:
            deciding.append(record["decision_id"])
        if deciding and point == f"before-{kind}":
            os._exit(DIED)
        if deciding and point == f"torn-{kind}":
            line = json.dumps(record).encode()
            os.write(journal._file, line[:len(line) // 2])
            os._exit(DIED)
        append(journal, record)
        if deciding and point == f"after-{kind}":
            os._exit(DIED)

    def dying_apply(actuator, *arguments):
        found = apply(actuator, *arguments)
        if deciding and point == "after-action":
            os._exit(DIED)
        return found

    Journal.append, ClusterActuator.apply = dying_append, dying_apply


def each_dies(command):
    """One process for each point, one after the other."""
    for point in POINTS:
        if not (child := os.fork()):
            die_at(point)
            os._exit(main(command))
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != DIED:
            sys.exit(f"it did not die {point}: {status}")
        print(f"died {point}", flush=True)


if __name__ == "__main__":
    each_dies(sys.argv[1:])
    sys.exit(main(sys.argv[1:]))
