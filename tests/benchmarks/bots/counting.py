"""What every bot of the benchmark does with an update: it counts it, and says at the end what the updates have cost."""

from __future__ import annotations

import json
import os
import resource
import sys


class Count:
    """Called once for each update. The first half is warming up; with the last, a line of JSON is printed."""

    def __init__(self) -> None:
        self.updates = int(os.environ["UPDATES"])
        self.warm = max(1, self.updates // 2)
        self.seen = 0
        self.began = 0.0

    def __call__(self) -> None:
        self.seen += 1
        if self.seen == self.warm:
            self.began = seconds()
        elif self.seen == self.updates:
            report = {
                "microseconds": (seconds() - self.began) / (self.updates - self.warm) * 1e6,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                "seen": self.seen,
            }
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()


def seconds() -> float:
    """The processor's time that this process took, of all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
