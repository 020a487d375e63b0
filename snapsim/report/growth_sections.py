"""The sections of a page that answer: how much space do the snapshots of this policy need?"""

from collections.abc import Iterator, Mapping

import numpy as np

from snapsim import viz
from snapsim.engine.lifetimes import LifetimeMatrix
from snapsim.mechanisms import Mechanism
from snapsim.planning.growth import Growth
from snapsim.report.blocks import Block, Code, Section, Table, Text, bullets, facts, picture, section
from snapsim.schema import label
from snapsim.units import format_duration, format_size

_MAX_ROWS = 400


def growth_title(growth: Growth) -> str:
    """Return a heading for the page."""
    return f"Snapshot space on {growth.mechanism.title}"


def growth_answer(growth: Growth) -> str:
    """Give the answer in a few sentences: the peak, and what it is worth."""
    frame, peak = growth.frame, growth.peak
    instants = growth.timeline.instants
    at = int(np.argmax(frame["peak_bytes"].to_numpy()))
    low, high = (int(frame[name].max()) for name in ("lower_bytes", "upper_bytes"))
    bounds = (
        f"By what existed before the trace, they hold {format_size(low)} to {format_size(high)} "
        "at most after prunes. "
    )
    beside = " and ".join(
        f"{format_size(int(frame[f'{name}_bytes'].max()))} of {text}"
        for name, text in (("metadata", "metadata"), ("memory", "memory images"))
        if frame[f"{name}_bytes"].any()
    )
    return (
        f"The snapshots of this policy need {format_size(peak['snapshot_bytes'])} of data at the peak, "
        f"{format_duration(int(instants[at] - instants[0]))} after the start"
        f"{f', and up to {beside}' if beside else ''}. {bounds if low != high else ''}"
        f"{growth.coverage.verdict}"
    )


def growth_sections(growth: Growth, lifetimes: LifetimeMatrix | None) -> Iterator[Section]:
    """Yield the answer: figures first, then the policy, the mechanism and what was assumed.

    Parameters
    ----------
    growth : Growth
        The answer.
    lifetimes : LifetimeMatrix or None
        Drawn when given.

    Yields
    ------
    Section
        In the order of the page.
    """
    drawn = [viz.storage_growth(growth)]
    if not growth.snapshots.empty:
        drawn.append(viz.snapshot_sizes(growth))
    if lifetimes is not None:
        drawn.append(viz.lifetime_heatmap(lifetimes))
    yield section("numbers", "Key numbers", _numbers(growth), _members(growth), bullets(growth.findings))
    yield section("figures", "Over time", *map(picture, drawn))
    policy = growth.timeline.policy
    yield section(
        "policy", "The policy", Text(f"{policy.describe()}."), Code(policy.to_toml(), "The policy as TOML")
    )
    yield section("snapshots", "Snapshots at the end", _snapshots(growth))
    yield section("mechanism", "The mechanism", *mechanism_blocks(growth.mechanism, growth.block_size))
    assumed = [text for text in growth.assumptions if text not in growth.mechanism.caveats]
    yield section("assumptions", "What was assumed", bullets(assumed))


def provenance_section(provenance: Mapping[str, object]) -> Section:
    """Return what the answer was made from and with."""
    rows = [row for row in _flat(provenance) if row[0] != "policy"]
    return section("provenance", "Where this comes from", facts("Versions, trace and parameters", rows))


def _numbers(growth: Growth) -> Table:
    end, peak, frame = growth.frame.iloc[-1], growth.peak, growth.frame
    rows = [
        ("Snapshot data at the peak", format_size(peak["snapshot_bytes"])),
        ("Snapshot reserve: data, metadata and memory, at the peak", format_size(peak["reserve_bytes"])),
        ("With the volume, metadata and memory, at the peak", format_size(peak["total_bytes"])),
        ("Allocated by the mechanism, at most", format_size(peak["allocated_bytes"])),
        ("Snapshots at once, at most", f"{peak['snapshots']:,}"),
    ]
    rows += [
        (f"Snapshot data for {name.removeprefix('p')} % of the time, at most", format_size(size))
        for name, size in growth.percentiles.items()
    ]
    rows += [
        (f"{label(name, '')} at the end", format_size(int(end[name])))
        for name in ("live_bytes", "snapshot_bytes", "metadata_bytes", "memory_bytes", "file_bytes")
    ]
    rows += [
        (f"{label(name, '')} over time, in all", format_size(int(frame[name].sum())))
        for name in ("merged_bytes", "copied_bytes", "freed_bytes")
    ]
    return facts("Space that the snapshots need", rows)


def _members(growth: Growth) -> Table | None:
    if not growth.members:
        return None
    rows = tuple(
        (name, *(format_size(member.peak[key]) for key in ("snapshot_bytes", "total_bytes")))
        for name, member in growth.members.items()
    )
    return Table(
        "Volumes; their peaks need not coincide, so that the peak of the sum is not the sum of the peaks",
        ("Volume", "Snapshot data at its peak", "With the volume, at its peak"),
        rows,
        frozenset({1, 2}),
    )


def _snapshots(growth: Growth) -> Table | Text:
    frame = growth.snapshots
    if frame.empty:
        return Text("No snapshot is kept at the end.")
    newest = frame.iloc[::-1].head(_MAX_ROWS)
    columns = {
        "taken": newest["taken"].dt.strftime("%Y-%m-%d %H:%M:%S"),
        "age_ns": newest["age_ns"].map(lambda age: format_duration(age) if age else "0"),
        "exclusive_bytes": newest["exclusive_bytes"].map(format_size),
        "written_bytes": newest["written_bytes"].map(format_size),
        "reasons": newest["reasons"],
    }
    rows = tuple(zip(*(column.astype(str) for column in columns.values()), strict=True))
    head = tuple(label(name, "UTC" if name == "taken" else "") for name in columns)
    shown = "" if len(frame) <= _MAX_ROWS else f"; the newest {_MAX_ROWS} are shown"
    return Table(f"{len(frame):,} snapshots, newest first{shown}", head, rows, frozenset({1, 2, 3}))


def mechanism_blocks(mechanism: Mechanism, block_size: int) -> Iterator[Block | None]:
    """Yield what a mechanism is, what of it was compared with the real system, and its caveats."""
    kind = f"{mechanism.title}: {mechanism.family}, {mechanism.block.name}s of {format_size(block_size)}."
    yield Text(kind)
    rows = tuple((item.about.capitalize(), item.status, item.source) for item in mechanism.evidence)
    yield Table(
        "What was compared with the real system, and what is only modelled", ("Part", "Status", "How"), rows
    )
    yield bullets(mechanism.caveats, word="Caveat:")


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        title = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{title}: ")
        elif name.endswith("_ns") and isinstance(value, int):
            yield title.removesuffix(" ns"), format_duration(value)
        elif name in {"block_size", "capacity"} and isinstance(value, int):
            yield title, format_size(value)
        elif isinstance(value, bool):
            yield title, "yes" if value else "no"
        else:
            yield title, f"{value:,}" if isinstance(value, int) else str(value)
