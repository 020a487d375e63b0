"""Hypothesis strategies for the whole policy language, and for snapshots that meet its edges."""

import re
from datetime import datetime

from hypothesis import settings
from hypothesis import strategies as st

from snapsim.policy import Policy
from snapsim.policy.compat import KEEP_BUCKETS
from snapsim.types import Snapshot, SnapshotKind
from snapsim.units import DAY, HOUR, MINUTE

# One example is dozens of decisions of a random policy: fewer of them say as much as many of something small.
FEW = settings(max_examples=max(settings.default.max_examples // 2, 20))

# where the clock goes an hour, half an hour or a day forward or back, at midnight or one minute after it;
# months, years and ISO years end
NIGHTS = [
    ("UTC", "2023-03-31T12:00Z"),
    ("UTC", "2024-05-31T12:00Z"),
    ("UTC", "2020-12-31T00:00Z"),
    ("UTC", "1970-01-01T00:00Z"),
    ("Europe/Berlin", "2024-03-31T01:00Z"),
    ("Europe/Berlin", "2024-10-27T01:00Z"),
    ("Australia/Lord_Howe", "2024-04-06T15:00Z"),
    ("Australia/Lord_Howe", "2024-10-05T15:30Z"),
    ("America/St_Johns", "2000-10-29T02:31Z"),
    ("America/St_Johns", "2000-10-29T02:31Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00Z"),
    ("recorded", "2024-10-27T01:00Z"),
]
STEPS = (MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, DAY, DAY, 7 * DAY)
CALENDAR = ["second", "minute", "hour", "day", "week", "month", "week13", "quarter", "year"]
LENGTHS = ["1min", "30min", "1h", "90min", "6h", "1d", "3d", "7d"]
WINDOWS = ["90min", "1d", "10d", "1mo", "1mo1d", "1y", "30min"]
SCHEDULE = ("1h", "@daily", "@weekly")
"""A schedule of three parts: what they are called is the class of what they ask for."""


def nanoseconds(text):
    return round(datetime.fromisoformat(text).timestamp()) * 10**9


counts = st.sampled_from([1, 1, 2, 2, 3, 4, "unlimited"])


def often(value, other):
    """Mostly one value: with everything unusual at once, nothing is let go or everything."""
    return st.one_of(st.just(value), st.just(value), other)


@st.composite
def selections(draw, classes):
    """What a rule, or a policy, is about."""
    return draw(
        st.fixed_dictionaries(
            {},
            optional={
                "class": st.lists(st.sampled_from(classes), min_size=1, max_size=2, unique=True),
                "tags": st.sampled_from([[], ["hold"], ["hold", "weekly"]]),
                "name": st.sampled_from(["^a", "b$", "."]),
                "kind": st.sampled_from(["disk", "full", ["disk", "memory"]]),
                "important": st.booleans(),
                "attributes": st.sampled_from([{"cleanup": "timeline"}, {"cleanup": ["timeline", "number"]}]),
                "exclude": st.booleans(),
            },
        ).filter(lambda select: len(select) <= 2)
    )


every = st.builds(
    lambda length, align: {"every": length, "align": align},
    st.sampled_from(LENGTHS),
    st.sampled_from(["epoch", "wall", "reference"]),
)


@st.composite
def long_rules(draw, classes):
    """A rule in its long form."""
    bucket = draw(st.sampled_from(["each", "all", *CALENDAR]) | every)
    rule = {"bucket": bucket, "count": draw(counts), "keep": draw(often(1, st.sampled_from([2, 3, "all"])))}
    if draw(st.booleans()):
        rule["pick"] = draw(st.sampled_from(["newest", "oldest"]))
    if draw(st.integers(0, 3)) == 0:
        rule["select"] = draw(selections(classes))
    if bucket in CALENDAR and draw(st.integers(0, 3)) == 0:
        rule["back"] = draw(st.integers(0, 4))
        if draw(st.booleans()):
            rule["back_in"] = draw(st.sampled_from(CALENDAR))
    limit = draw(st.integers(0, 4))
    if limit == 0:
        rule["within"] = draw(st.sampled_from(WINDOWS))
        rule["edge"] = draw(st.sampled_from(["open", "closed"]))
    elif limit == 1:
        low, high = sorted(draw(st.lists(st.integers(0, 40), min_size=2, max_size=2, unique=True)))
        unit = draw(st.sampled_from(["min", "h", "d"]))
        rule["age"] = [f"{low}{unit}", f"{high}{unit}"]
    if draw(st.integers(0, 3)) == 0:
        rule["reference"] = draw(st.sampled_from(["now", "newest", "newest_not_future", "newest_complete"]))
    return rule


def _length(rule):
    bucket = rule["bucket"]
    if isinstance(bucket, dict):
        return LENGTHS.index(bucket["every"]) + 100
    return {"each": 0, "all": 0}.get(bucket, CALENDAR.index(bucket) + 200 if bucket in CALENDAR else 0)


@st.composite
def policies(draw, *, timezone="UTC", classes=SCHEDULE, loop=False, plain=False):
    """A policy over the whole language but for rules about space.

    With `loop`, it says nothing that needs marks on snapshots; with `plain`, only rules and axes speak: no
    marks, limits and guards, which may decide something else when a prune is repeated.
    """
    combine = draw(st.sampled_from(["any", "any", "sequential", "claim", "partition", "cascade"]))
    given = {"combine": combine, "timezone": timezone, "schedule": list(SCHEDULE)}
    rules = draw(st.lists(long_rules(classes), max_size=3))
    if combine == "cascade":
        # from short to long: the buckets of a fixed length are left out, for their lengths are in between
        rules = sorted((rule for rule in rules if isinstance(rule["bucket"], str)), key=_length)
        rules = [
            {**rule, "count": 0} if place + 1 < len(rules) and draw(st.integers(0, 3)) == 0 else rule
            for place, rule in enumerate(rules)
        ]
    else:
        given["oldest"] = (
            draw(often("never", st.sampled_from(["each_rule", "each_counted_rule", "last_rule"])))
            if combine != "claim"
            else "never"
        )
        for key in draw(st.lists(st.sampled_from(sorted(KEEP_BUCKETS)), max_size=2, unique=True)):
            given[key] = draw(counts)
        if draw(st.integers(0, 3)) == 0:
            given["keep_within"] = draw(st.sampled_from(WINDOWS))
        if draw(st.integers(0, 5)) == 0:
            given["keep_within_daily"] = draw(st.sampled_from(WINDOWS))
        if draw(st.integers(0, 5)) == 0:
            given["keep_tag"] = draw(st.sampled_from([[["hold"]], [["hold", "weekly"], []]]))
        if draw(st.integers(0, 5)) == 0:
            given["grid"] = {
                "spec": draw(st.sampled_from(["2x1h(keep=all) | 3x2h | 2x1d", "1x30min | 4x1h(keep=2)"])),
                "anchor": draw(st.sampled_from(["newest", "now"])),
                "pick": draw(st.sampled_from(["newest", "oldest"])),
            }
        if draw(st.integers(0, 7)) == 0:
            given["expire"] = draw(
                st.sampled_from([{"ttl": "2d"}, {"max_count": 5}, {"ttl": "6h", "max_count": 3}])
            )
    counted = any(rule["count"] != 0 for rule in rules)
    if not counted and not any(key in given for key in (*KEEP_BUCKETS, "keep_within", "grid", "expire")):
        rules.append({"bucket": "year", "count": draw(st.integers(1, 3))})
    given["keep"] = rules
    given["reference"] = draw(
        st.sampled_from(["newest_not_future", "newest_not_future", "now", "newest", "newest_complete"])
    )
    if draw(st.integers(0, 9)) == 0:
        given["reference"] = draw(st.sampled_from(["2024-10-27T02:00Z", "2018-11-04T03:00+01:00"]))
    given["adjacency"] = draw(st.sampled_from(["set", "run"]))
    given["future"] = draw(often("count", st.sampled_from(["keep", "ignore"])))
    given["tie_break"] = draw(often("newest_id", st.just("all")))
    given["week_start"] = draw(often("monday", st.sampled_from(["sunday", "wednesday"])))
    given["day_start"] = draw(often("00:00", st.sampled_from(["05:30", "23:59"])))
    given["month_starts"] = draw(often("calendar", st.just("week_start")))
    given["guards"] = {"refuse_delete_all": False}
    if plain:
        return Policy(**given)
    given["min_age"] = draw(often(None, st.sampled_from(["1min", "90min", "2d"])))
    given["guards"] = {
        "refuse_delete_all": draw(st.booleans()),
        "max_delete_fraction": draw(often(None, st.sampled_from([0.1, 0.25, 0.5, 1.0]))),
    }
    limits = {"on_violation": draw(st.sampled_from(["warn", "merge_oldest"]))}
    if draw(st.integers(0, 2)) == 0:
        limits |= {"chain_max": draw(st.integers(1, 6)), "chain_hard": draw(st.integers(6, 9))}
    if draw(st.integers(0, 2)) == 0:
        limits["max_age"] = draw(st.sampled_from(["1h", "2d", "20d"]))
    given["limits"] = limits
    protect = {
        "newest": draw(often(0, st.integers(0, 4))),
        "last_of_class": draw(st.booleans()),
        "just_taken": draw(st.booleans()),
    }
    if not loop:
        given["order"] = draw(often("time", st.just("number")))
        given["group_by"] = draw(
            often([], st.lists(st.sampled_from(["class", "tags", "host", "kind", "paths"]), max_size=2))
        )
        if draw(st.integers(0, 3)) == 0:
            given["select"] = draw(selections(classes))
        protect |= {
            key: draw(st.booleans())
            for key in ("important", "in_use", "pairs", "incremental_base", "not_replicated",
                        "incomplete_newest", "protected_counts")
        }  # fmt: skip
        protect["tags"] = draw(often([], st.just(["hold"])))
        protect["incomplete_count"] = draw(often(1, st.integers(1, 3)))
        protect["incomplete_within"] = draw(often(None, st.sampled_from(["30min", "2d"])))
        protect["incomplete_count"] = draw(st.integers(1, 3))
        protect["incomplete_within"] = draw(st.sampled_from([None, "1h", "1d"]))
    given["protect"] = protect
    return Policy(**given)


@st.composite
def moments(draw):
    """A zone, and times on a grid around one of its nights: they meet the edges of buckets and windows."""
    zone, night = draw(st.sampled_from(NIGHTS))
    step = draw(st.sampled_from(STEPS))
    present = draw(st.integers(1, 2**41 - 1) | st.just(2**41 - 1))
    return zone, [nanoseconds(night) + (place - 20) * step for place in range(41) if present >> place & 1]


def nows(times):
    """The time of a decision: at a snapshot (mostly one of the last), just before it, or a day after."""
    return st.builds(
        sum, st.tuples(often(times[-1], st.sampled_from(times)), st.sampled_from([-1, 0, 0, DAY]))
    )


attributes = st.fixed_dictionaries(
    {},
    optional={
        "host": st.sampled_from("hk"),
        "paths": st.sampled_from([("/a", "/b"), ("/b", "/a"), ["/a"]]),
        "cleanup": st.sampled_from(["timeline", "number"]),
        "important": st.booleans(),
        "in_use": st.booleans(),
        "protected": st.booleans(),
        "incomplete": st.booleans(),
        "incremental_base": st.booleans(),
        "replicated": st.booleans(),
        "utc_offset_s": st.sampled_from([-9000, 3600, 7200]),
    },
).filter(lambda known: len(known) <= 3)


@st.composite
def catalogs(draw, times, *, bare=False):
    """Snapshots at some times, some of them twins, in any order; unless `bare`, with all that marks them."""
    twins = draw(st.lists(st.sampled_from(times), max_size=5, unique=True))
    moments = [(time_ns, "a") for time_ns in times] + [(time_ns, "b") for time_ns in twins]
    numbers = list(range(len(moments)))
    if draw(st.booleans()):
        numbers = draw(st.permutations(numbers))
    chance = draw(st.randoms(use_true_random=False))
    every_mark = draw(st.lists(attributes, min_size=1, max_size=4))
    marked = 0 if bare else draw(st.sampled_from([0, 3, 10]))  # so many of ten
    snapshots = []
    for number, (time_ns, letter) in zip(numbers, moments, strict=True):
        known = {"number": number}
        if chance.randrange(10) < marked:
            known |= chance.choice(every_mark)
        if marked and chance.randrange(8) == 0:
            known["pair"] = str(chance.randrange(len(moments)))
        snapshots.append(
            Snapshot(
                time_ns,
                id=str(number) if marked else letter,
                name=letter if marked else "",
                kind=chance.choice(list(SnapshotKind)) if marked else SnapshotKind.DISK,
                classes=frozenset(name for name in SCHEDULE if chance.randrange(3) == 0),
                tags=frozenset(tag for tag in ("hold", "weekly") if marked and chance.randrange(4) == 0),
                attributes=known,
            )
        )
    if draw(st.booleans()):
        chance.shuffle(snapshots)
    return snapshots


@st.composite
def prunes(draw, **more):
    """A policy, snapshots, and the time of a decision."""
    zone, times = draw(moments())
    bare = more.pop("bare", False)
    policy = draw(policies(timezone=zone, **more))
    return policy, draw(catalogs(times, bare=bare)), draw(nows(times))


def without_hint(reasons):
    """What a decision says, but for the count that would be needed."""
    return re.sub(r" \(a count of \d+ would keep it\)", "", "; ".join(reasons))
