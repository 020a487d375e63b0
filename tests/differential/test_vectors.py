"""Cases decided by hand, for the programs that no Debian package brings.

Each says which sentence of the program's algorithm decides it.  Times are UTC; what stays is listed newest
first.
"""

import random
from datetime import UTC, datetime

import pytest

from snapsim.types import Snapshot
from tests.differential.oracles import borg, kopia, proxmox, restic, velero
from tests.differential.random_cases import DAY, HOUR, SECOND, ZONES, times


def snapshot(text, **attributes):
    tags = attributes.pop("tags", ())
    local = datetime.fromisoformat(text)
    zoned = local if local.tzinfo else datetime.fromisoformat(text + "Z")
    if zoned.utcoffset():
        attributes["utc_offset_s"] = int(zoned.utcoffset().total_seconds())
    return Snapshot(
        int(zoned.timestamp()) * SECOND, name=text, id=text, tags=frozenset(tags), attributes=attributes
    )


def series(start, stop, step=DAY):
    """Return one snapshot a step, both ends included."""
    first, last = snapshot(start).time_ns, snapshot(stop).time_ns
    moments = (datetime.fromtimestamp(t // SECOND, tz=UTC) for t in range(first, last + 1, step))
    return [snapshot(f"{moment:%Y-%m-%dT%H:%M}") for moment in moments]


def check(oracle, snapshots, settings, expected, *, now="2026-01-01T00:00", timezone="UTC"):
    snapshots = [s if isinstance(s, Snapshot) else snapshot(s) for s in snapshots]
    now_ns = snapshot(now).time_ns
    for order in (snapshots, snapshots[::-1]):
        kept = {order[i].name for i in oracle(order, settings, now_ns=now_ns, timezone=timezone)}
        assert sorted(kept, reverse=True) == sorted(expected, reverse=True)


JANUARY = [f"2024-01-{day:02}T12:00" for day in range(1, 32)]

RESTIC = {
    # "any rule with counts left also keeps the oldest snapshot of the group"
    "oldest fills an unmet count": (JANUARY, {"keep_monthly": 2}, [JANUARY[30], JANUARY[0]]),
    # ... and a rule whose count is used up does not
    "oldest goes once the count is met": (JANUARY, {"keep_daily": 2}, JANUARY[29:]),
    # ... "including unlimited"
    "unlimited keeps the oldest": (JANUARY, {"keep_yearly": "unlimited"}, [JANUARY[30], JANUARY[0]]),
    # "for within rules only if it is inside the window"
    "oldest outside a window": (JANUARY, {"keep_within_monthly": "7d"}, [JANUARY[30]]),
    "oldest inside a window": (JANUARY, {"keep_within_monthly": "2m"}, [JANUARY[30], JANUARY[0]]),
    # strict ">": what is exactly as old as the window is out
    "open edge": (JANUARY, {"keep_within": "2d"}, JANUARY[29:]),
    # "within 1m of Mar 31 means since Mar 2 in leap years": February 31 overflows
    "a month before March 31": (
        ["2024-03-31T12:00", "2024-03-02T12:01", "2024-03-02T12:00", "2024-02-29T13:00"],
        {"keep_within": "1m"},
        ["2024-03-31T12:00", "2024-03-02T12:01"],
    ),
    # the buckets are those of the recorded offsets, and only the previous key is compared: A, B, A keeps A
    # twice
    "mixed offsets": (
        ["2024-01-02T03:00+05:00", "2024-01-01T21:00+00:00", "2024-01-02T01:00+05:00"],
        {"keep_daily": 3},
        ["2024-01-02T03:00+05:00", "2024-01-01T21:00+00:00", "2024-01-02T01:00+05:00"],
    ),
    # "refuses to empty a group if the policy is not empty"
    "refuses to empty": (JANUARY, {"keep_tag": [["typo"]]}, JANUARY),
    # an all-zero policy is refused as well
    "no policy": (JANUARY, {"keep_daily": 0}, JANUARY),
    # all rules see every snapshot: January 31 is the newest of its day and of its month
    "one snapshot for several rules": (
        ["2023-12-31T12:00", *JANUARY],
        {"keep_daily": 1, "keep_monthly": 2},
        [JANUARY[30], "2023-12-31T12:00"],
    ),
    # future snapshots are counted, though they are no reference for windows
    "the future eats counts": (
        ["2099-01-01T00:00", *JANUARY],
        {"keep_last": 1, "keep_within": "1d"},
        ["2099-01-01T00:00", JANUARY[30]],
    ),
}


@pytest.mark.parametrize("case", RESTIC)
def test_restic(case):
    check(restic.kept, *RESTIC[case])


def test_restic_refuses_negative_counts():
    with pytest.raises(ValueError, match="negative"):
        restic.kept([], {"keep_daily": -1}, now_ns=0, timezone="UTC")


def test_restic_of_today_keeps_no_less_than_0_14():
    """The two differ in the oldest rule and in the refusals only, and both only add."""
    chance = random.Random(16)
    for _ in range(500):
        snapshots = [Snapshot(time_ns) for time_ns in times(chance)]
        rules = chance.sample(["last", "hourly", "daily", "weekly", "monthly", "yearly", "within"], k=2)
        settings = {f"keep_{rule}": "9d" if rule == "within" else chance.randint(0, 5) for rule in rules}
        question = {"now_ns": 4 * 10**18, "timezone": "UTC"}
        now, then = (f(snapshots, settings, **question) for f in (restic.kept, restic.kept_0_14))
        assert then <= now
        assert len(now - then) <= 1 or not then


BORG_2 = {
    # "keep" makes a bucket of every archive, where keep-last of borg 1 merged those of one second
    "keep": (
        ["2024-01-01T12:00", "2024-01-01T12:00:00+00:00", "2023-12-31T00:00"],
        {"keep": 2},
        ["2024-01-01T12:00", "2024-01-01T12:00:00+00:00"],
    ),
    # "interval n: only archives with ts >= base - interval are scanned" (inclusive)
    "closed edge": (JANUARY, {"keep_daily": "2d"}, JANUARY[28:]),
    # "oldest kept only by the last active rule": daily is unmet as well, and adds nothing by itself
    "oldest by the last rule": (JANUARY[:3], {"keep_daily": 9, "keep_monthly": 9}, JANUARY[:3]),
    "oldest not by an earlier rule": (
        ["2024-01-01T10:00", "2024-01-01T12:00"],
        {"keep_daily": 9, "keep_monthly": "1H"},
        ["2024-01-01T12:00"],
    ),
    # ... "and only if it is still inside its limit"
    "oldest outside": (JANUARY, {"keep_monthly": "7d"}, [JANUARY[30]]),
    "oldest inside": (JANUARY, {"keep_monthly": "2m"}, [JANUARY[30], JANUARY[0]]),
    "oldest of an unmet count": (JANUARY, {"keep_monthly": 2}, [JANUARY[30], JANUARY[0]]),
    # a kept archive takes its bucket and leaves the count (as in borg 1): monthly goes on to December
    "occupied bucket": (
        ["2023-11-30T12:00", "2023-12-31T12:00", *JANUARY],
        {"keep_daily": 1, "keep_monthly": 1},
        [JANUARY[30], "2023-12-31T12:00"],
    ),
    # 13weekly: (ISO year, min((week - 1) // 13, 3)): week 53 of 2020 belongs to the fourth quarter
    "thirteen weeks": (
        ["2021-01-04T12:00", "2021-01-03T12:00", "2020-09-28T12:00", "2020-09-27T12:00", "2020-07-06T12:00"],
        {"keep_13weekly": 3},
        ["2021-01-04T12:00", "2021-01-03T12:00", "2020-09-27T12:00"],
    ),
    # 3monthly: the calendar's quarter
    "quarter": (
        ["2024-04-01T00:00", "2024-03-31T23:59", "2024-01-01T00:00", "2023-12-31T00:00"],
        {"keep_3monthly": 2},
        ["2024-04-01T00:00", "2024-03-31T23:59"],
    ),
    # "archives >= from are kept and hidden from rules"; intervals count back from there
    "from": (
        JANUARY,
        {"keep": 1, "from": snapshot("2024-01-30T00:00").time_ns},
        [JANUARY[30], JANUARY[29], JANUARY[28]],
    ),
    # "archives tagged @PROT never pruned"; the rules do not see them
    "protected": (
        [snapshot(JANUARY[30], tags=("@PROT",)), *JANUARY[:30]],
        {"keep": 1},
        [JANUARY[30], JANUARY[29]],
    ),
}


@pytest.mark.parametrize("case", BORG_2)
def test_borg_2(case):
    snapshots, settings, expected = BORG_2[case]
    check(borg.kept_2, snapshots, settings, expected, now=JANUARY[30])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep_daily": "7d", "keep_weekly": "1w"}, "increase"),
        ({"keep_daily": -1, "keep_weekly": 3}, "unlimited"),
    ],
)
def test_borg_2_refuses_orders_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        borg.kept_2([], settings, now_ns=0, timezone="UTC")


# 2024-01-28 is a Sunday; the week from January 29 to February 4 straddles two months.
FEBRUARY = [f"2024-02-{day:02}T12:00" for day in range(1, 5)]

PROXMOX = {
    # a rule claims whole buckets: weekly takes week 5 with February 4, and January 31 loses it for good, so
    # that monthly, which skips February as covered, finds January 28 as January's newest survivor
    "a week that straddles months": (
        [*JANUARY, *FEBRUARY],
        {"keep_weekly": 1, "keep_monthly": 1},
        [FEBRUARY[3], JANUARY[27]],
    ),
    # without the weekly rule January 31 stays
    "monthly alone": ([*JANUARY, *FEBRUARY], {"keep_monthly": 2}, [FEBRUARY[3], JANUARY[30]]),
    # a bucket that an earlier rule covers neither counts nor is thinned by the next one: last 2 covers two
    # days
    "covered days do not count": (JANUARY, {"keep_last": 2, "keep_daily": 1}, JANUARY[28:]),
    # weekly 1 + monthly 2 over July and August 2026 (from the issue of monotony): Sunday August 9 and
    # Tuesday July 28
    "not monotone, before": (
        series("2026-07-01T12:00", "2026-08-09T12:00"),
        {"keep_weekly": 1, "keep_monthly": 1},
        ["2026-08-09T12:00", "2026-07-31T12:00"],
    ),
    # one daily more: it takes Sunday August 9, and with it covers that week; weekly goes on to August 2,
    # whose week straddles the months, and July 27 to 31 die with it
    "not monotone, after": (
        series("2026-07-01T12:00", "2026-08-09T12:00"),
        {"keep_daily": 1, "keep_weekly": 1, "keep_monthly": 1},
        ["2026-08-09T12:00", "2026-08-02T12:00", "2026-07-26T12:00"],
    ),
    # all zero = keep all
    "no rule": (JANUARY, {"keep_daily": 0}, JANUARY),
    # the same second is one bucket, also for keep-last
    "one second": (
        ["2024-01-01T12:00", "2024-01-01T12:00:00+00:00", "2023-12-01T00:00"],
        {"keep_last": 2},
        [None, "2023-12-01T00:00"],
    ),
    # protected ones neither count nor cover
    "protected": (
        [snapshot(JANUARY[30], protected=True), *JANUARY[:30]],
        {"keep_monthly": 1},
        [JANUARY[30], JANUARY[29]],
    ),
    # unfinished: the newest of all stays, and the others go
    "unfinished newest": (
        [snapshot(JANUARY[30], incomplete=True), *JANUARY[:30]],
        {"keep_last": 1},
        [JANUARY[30], JANUARY[29]],
    ),
    "unfinished older": (
        [*JANUARY[29:], snapshot(JANUARY[28], incomplete=True)],
        {"keep_last": 3},
        JANUARY[29:],
    ),
}


@pytest.mark.parametrize("case", PROXMOX)
def test_proxmox(case):
    snapshots, settings, expected = PROXMOX[case]
    if expected[0] is not None:
        check(proxmox.kept, snapshots, settings, expected)
        return
    snapshots = [snapshot(text) for text in snapshots]  # which of the twins stays is not said
    kept = proxmox.kept(snapshots, settings, now_ns=0, timezone="UTC")
    assert len(kept) == 2
    assert 2 in kept


def test_proxmox_reads_the_local_calendar():
    # 22:30 UTC and 23:30 UTC are 23:30 and 0:30 in Berlin: two days
    pair = ["2024-01-01T22:30", "2024-01-01T23:30"]
    check(proxmox.kept, pair, {"keep_daily": 2}, pair, timezone="Europe/Berlin")
    check(proxmox.kept, pair, {"keep_daily": 2}, pair[1:])


KOPIA = {
    # counts AND age: eligible if t >= newest - n units, and the bucket unused, and fewer than n used
    # (closed edge, so that 3 days back are inside, but the count is 3)
    "count and age": (JANUARY, {"keep_daily": 3}, JANUARY[28:]),
    # a gap in use: what is older than n days before the newest goes, however few there are
    "gap": ([*JANUARY[:3], JANUARY[30]], {"keep_daily": 9}, [JANUARY[30]]),
    "closed edge": ([JANUARY[27], JANUARY[30]], {"keep_daily": 3}, [JANUARY[30], JANUARY[27]]),
    # the newest of a bucket stays
    "newest of the day": (["2024-01-01T01:00", "2024-01-01T02:00"], {"keep_daily": 1}, ["2024-01-01T02:00"]),
    # week 2024-01 and month 2024-01 do not share a name here: both rules keep their own
    "week 1 and month 1": (
        ["2024-01-03T12:00", "2024-01-01T12:00", "2023-12-31T12:00"],
        {"keep_monthly": 1, "keep_weekly": 2},
        ["2024-01-03T12:00", "2023-12-31T12:00"],
    ),
    # calendar months, overflowing: a month before March 31, 2024 is March 2
    "month overflow": (
        ["2024-03-31T12:00", "2024-03-01T12:00", "2024-02-29T12:00"],
        {"keep_monthly": 1, "keep_latest": 1},
        ["2024-03-31T12:00"],
    ),
    # all zero = keep all
    "no rule": (JANUARY, {"keep_daily": 0}, JANUARY),
    # windows count from the newest complete snapshot, and incomplete ones stay while they are the newest, if
    # younger than four hours or among the three newest
    "incomplete": (
        [
            snapshot("2024-01-31T12:00", incomplete=True),
            "2024-01-02T12:00",
            "2024-01-01T12:00",
            snapshot("2023-12-31T12:00", incomplete=True),
        ],
        {"keep_daily": 2},
        ["2024-01-31T12:00", "2024-01-02T12:00", "2024-01-01T12:00"],
    ),
    "many incomplete": (
        [snapshot(f"2024-01-31T{hour:02}:00", incomplete=True) for hour in (12, 11, 10, 9, 8, 7)]
        + ["2024-01-30T12:00"],
        {"keep_latest": 1},
        ["2024-01-31T12:00", "2024-01-31T11:00", "2024-01-31T10:00", "2024-01-31T09:00", "2024-01-30T12:00"],
    ),
    # pins
    "pinned": (
        [snapshot(JANUARY[0], protected=True), *JANUARY[28:]],
        {"keep_latest": 1},
        [JANUARY[30], JANUARY[0]],
    ),
}


@pytest.mark.parametrize("case", KOPIA)
def test_kopia(case):
    check(kopia.kept, *KOPIA[case])


VELERO = {
    # expired when the expiration (start + ttl) is not after now: at the instant itself it goes
    "edge": (
        ["2024-01-31T12:00", "2024-01-29T12:00:01", "2024-01-29T12:00"],
        {"ttl": "48h0m0s"},
        ["2024-01-31T12:00", "2024-01-29T12:00:01"],
    ),
    # 0 -> the default of 30 days
    "default": (JANUARY, {"ttl": "0s"}, JANUARY[1:]),
    # "even if it is the only one"
    "the only one": (["2024-01-01T12:00"], {"ttl": "24h"}, []),
    # "expiration stamped at start": a later change of the ttl does not touch it
    "stamped": (
        [snapshot("2024-01-01T12:00", expires_ns=snapshot("2024-02-01T00:00").time_ns)],
        {"ttl": "1h"},
        ["2024-01-01T12:00"],
    ),
    # dated after now: not expired
    "future": (["2030-01-01T00:00"], {"ttl": "1h"}, ["2030-01-01T00:00"]),
}


@pytest.mark.parametrize("case", VELERO)
def test_velero(case):
    snapshots, settings, expected = VELERO[case]
    check(velero.kept, snapshots, settings, expected, now="2024-01-31T12:00")


@pytest.mark.parametrize(
    "oracle", [restic.kept, restic.kept_0_14, borg.kept, borg.kept_2, proxmox.kept, kopia.kept]
)
def test_the_order_of_the_input_and_a_second_run_change_nothing(oracle):
    chance = random.Random(6)
    for _ in range(200):
        snapshots = [Snapshot(time_ns, id=str(time_ns)) for time_ns in times(chance, resolution=SECOND)]
        now_ns = max((s.time_ns for s in snapshots), default=0) + HOUR
        settings = {f"keep_{rule}": chance.randint(0, 4) for rule in ("hourly", "daily", "weekly", "monthly")}
        question = {"now_ns": now_ns, "timezone": chance.choice(ZONES)}
        kept = {snapshots[i].id for i in oracle(snapshots, settings, **question)}
        ordered = sorted(snapshots, key=lambda s: s.time_ns)
        assert kept == {ordered[i].id for i in oracle(ordered, settings, **question)}
        left = [s for s in snapshots if s.id in kept]
        assert oracle(left, settings, **question) == set(range(len(left)))
