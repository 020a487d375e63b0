"""Runs in the system's Python, where borg is: reads cases as JSON lines, answers with the archives that stay.

What `borg prune` does between the listing of the archives and their deletion is a loop over the rules,
inside a method that needs a repository; that loop is restated here, and calls borg's own functions.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Archive(SimpleNamespace):
    __hash__ = object.__hash__


def clock_at(now):
    """Return a datetime class for which it is `now`; `keep-within` asks for it."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return now.astimezone(tz)

    return Stopped


def prune(archives_checkpoints, args):
    from borg.helpers import misc  # here: the tests' own Python, which has no borg, looks into every file
    from borg.helpers.parseformat import interval

    checkpoints = [a for a in archives_checkpoints if a.checkpoint]
    newest_is_one = checkpoints and archives_checkpoints[0] is checkpoints[0]
    keep_checkpoints = checkpoints[:1] if newest_is_one else []
    archives = [a for a in archives_checkpoints if not a.checkpoint]
    keep, because = [], {}
    if args["within"]:
        keep += misc.prune_within(archives, interval(args["within"]), because)
    for rule in misc.PRUNING_PATTERNS:
        if args[rule] is not None:
            keep += misc.prune_split(archives, rule, args[rule], because)
    return {a.id for a in keep} | {a.id for a in keep_checkpoints}


def main():
    from borg.helpers import misc

    for line in sys.stdin:
        case = json.loads(line)
        os.environ["TZ"] = case["timezone"]
        time.tzset()
        misc.datetime = clock_at(EPOCH + timedelta(microseconds=case["now_us"]))
        archives = [
            Archive(id=index, ts=EPOCH + timedelta(microseconds=time_us), checkpoint=checkpoint)
            for index, (time_us, checkpoint) in enumerate(case["archives"])
        ]
        archives.sort(key=lambda a: a.ts, reverse=True)
        sys.stdout.write(json.dumps(sorted(prune(archives, case["args"]))) + "\n")


if __name__ == "__main__":
    main()
