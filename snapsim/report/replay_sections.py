"""The sections of a page that answer: what do the snapshots of this policy cost the guest?"""

from collections.abc import Iterator

from snapsim import viz
from snapsim.planning.replay import Replayed
from snapsim.planning.replay_text import lines_of
from snapsim.report.blocks import Code, Section, Table, Text, bullets, facts, picture, section
from snapsim.report.growth_sections import mechanism_blocks
from snapsim.units import format_duration, format_size

_MAX_ROWS = 400


def replay_title(replayed: Replayed) -> str:
    """Return a heading for the page."""
    where = "" if replayed.device is None else f", on {replayed.device.title}"
    return f"The cost of snapshots on {replayed.mechanism.title}{where}"


def replay_answer(replayed: Replayed) -> str:
    """Give the answer in a few sentences: what a write takes, whether the device copes, what it is worth."""
    found = dict(lines_of(replayed))
    load = f" The device {found['the device']}." if "the device" in found else ""
    return f"A write takes {found['a write']}.{load} {replayed.coverage.verdict}"


def replay_sections(replayed: Replayed) -> Iterator[Section]:
    """Yield the answer: figures first, then the policy, the mechanism and what was assumed.

    Parameters
    ----------
    replayed : Replayed
        The answer.

    Yields
    ------
    Section
        In the order of the page.
    """
    drawn = [viz.amplification(replayed)]
    if replayed.bursts["requests"].any():
        drawn.append(viz.burst(replayed))
    timed = [viz.latency_over_time, viz.latency_distribution] if _has_latencies(replayed) else []
    drawn += [draw(replayed) for draw in timed]
    policy = replayed.timeline.policy
    yield section("numbers", "Key numbers", facts("What snapshots cost the guest", list(lines_of(replayed))))
    yield section("figures", "Over time", *map(picture, drawn))
    yield section(
        "policy", "The policy", Text(f"{policy.describe()}."), Code(policy.to_toml(), "The policy as TOML")
    )
    yield section("operations", "Snapshots taken and deleted", _operations(replayed))
    yield section("mechanism", "The mechanism", *mechanism_blocks(replayed.mechanism, replayed.block_size))
    assumed = [text for text in replayed.assumptions if text not in replayed.mechanism.caveats]
    yield section("assumptions", "What was assumed", bullets(assumed))


def _has_latencies(replayed: Replayed) -> bool:
    kinds = ("read", "write")
    return replayed.device is not None and any(replayed.latencies[kind].count for kind in kinds)


def _operations(replayed: Replayed) -> Table | Text:
    frame = replayed.operations
    if frame.empty:
        return Text("No snapshot was taken.")
    shown = frame.head(_MAX_ROWS)
    time, taken = (shown[name].dt.strftime("%Y-%m-%d %H:%M:%S") for name in ("time", "taken"))
    columns = (
        time,
        shown["action"],
        taken,
        shown["pause_ns"].map(_duration),
        shown["moved_bytes"].map(format_size),
        shown["merge_duration_ns"].map(_duration),
    )
    rows = tuple(zip(*(column.astype(str) for column in columns), strict=True))
    head = ("Time [UTC]", "Done", "Snapshot of [UTC]", "Guest waits", "Moved", "Merge takes")
    rest = "" if len(frame) <= _MAX_ROWS else f"; the first {_MAX_ROWS} are shown"
    return Table(
        f"{len(frame):,} times a snapshot was taken or deleted{rest}", head, rows, frozenset({3, 4, 5})
    )


def _duration(value: float) -> str:
    return "" if value != value else format_duration(round(value))  # noqa: PLR0124  NaN
