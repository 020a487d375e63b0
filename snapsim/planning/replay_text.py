"""What a replay says: in plain values, and in words."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING

from snapsim.devices import Device
from snapsim.engine.queueing import Load
from snapsim.mechanisms import Mechanism
from snapsim.planning.replay_tallies import PERCENTILES
from snapsim.policy.timeline import Timeline
from snapsim.traces.trace import Trace
from snapsim.units import format_duration, format_size

if TYPE_CHECKING:
    import pandas as pd

    from snapsim.engine.histogram import Histogram
    from snapsim.planning.replay import Replayed

__all__ = ["assumptions_of", "io_validated", "lines_of", "load_sentence", "summary_of", "text_of"]

_WIDTH = 88  # of a sentence, beside what it is about
_TOTALS = (
    "requests", "guest_read_bytes", "guest_written_bytes", "read_bytes", "written_bytes",
    "metadata_read_bytes", "metadata_written_bytes", "flushes", "copied_bytes", "copy_read_bytes",
)  # fmt: skip


def summary_of(replayed: "Replayed") -> dict[str, object]:
    """Return what a replay found as plain values."""
    frame, operations, bursts = replayed.frame, replayed.operations, replayed.bursts
    totals = {name: int(frame[name].sum()) for name in _TOTALS}
    return {
        "mechanism": replayed.mechanism.name,
        "validated": io_validated(replayed.mechanism),
        "device": None if replayed.device is None else replayed.device.name,
        "policy": replayed.timeline.policy.describe(),
        "block_size": replayed.block_size,
        "interval_ns": replayed.interval_ns,
        "totals": totals,
        "ratios": {
            "write_amplification": _over(totals["written_bytes"], totals["guest_written_bytes"]),
            "read_amplification": _over(totals["read_bytes"], totals["guest_read_bytes"]),
            "layers_per_read": replayed.layers_per_read,
            "space_amplification_max": _number(frame["space_amplification"].max()),
        },
        "operations": _operations(operations),
        "bursts": [
            {name: _number(value) for name, value in row.items()} for row in bursts.to_dict("records")
        ],
        "latency": {name: _latency(one) for name, one in replayed.latencies.items()},
        "load": None if replayed.load is None else {
            **{name: _number(value) for name, value in asdict(replayed.load).items()},
            "saturated_intervals": int(frame["saturated"].sum()),
            "intervals": len(frame),
        },
    }  # fmt: skip


def text_of(replayed: "Replayed") -> str:
    """Return what a replay found, for people."""
    where = "" if replayed.device is None else f", on {replayed.device.title}"
    lines = [f"{replayed.timeline.policy.describe()} on {replayed.mechanism.title}{where}"]
    for head, text in lines_of(replayed):
        first, *others = wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
        lines += [f"  {head:<18}  {first}", *(f"{'':22}{other}" for other in others)]
    return "\n".join(lines)


def load_sentence(load: Load, frame: "pd.DataFrame") -> str:
    """Say in one sentence whether a device copes."""
    busy = f"busy {_percent(load.utilisation)} of the time"
    full, n = int(frame["saturated"].sum()), len(frame)
    if load.saturated:
        return (
            f"does not cope: {load.offered:.3g} times what it can do is asked of it, so that latencies say "
            "nothing but how long the trace is"
        )
    if full:
        return (
            f"copes over the whole trace ({busy}), but in {full} of {n} intervals more is asked than it can "
            "do, and requests wait"
        )
    return f"copes: {busy}, {_percent(float(frame['utilisation'].max()))} in the busiest interval"


def assumptions_of(
    trace: Trace,
    timeline: Timeline,
    mechanism: Mechanism,
    device: Device | None,
    *,
    initial: str | tuple[tuple[int, int], ...],
    merge: str,
    merge_speed: int,
) -> tuple[str, ...]:
    """Say what was assumed, and what the answer leaves out."""
    before = {
        "thick": "The whole volume was taken to hold data before the trace began.",
        "thin": "Nothing was taken to exist before the trace began.",
        "read-first": "What is read before it is written was taken to exist before the trace began, and "
        "nothing else.",
    }
    texts = [
        before[initial]
        if isinstance(initial, str)
        else "What existed before the trace is taken from a map of the image."
    ]
    texts += trace.info.notes
    if trace.start_assumed:
        texts.append("The trace does not say when it began: 2001-01-01T00:00Z was assumed.")
    if not trace.capacity_known:
        texts.append(
            "The trace does not say how large the volume is: it was taken to end where requests end."
        )
    if timeline.shifted_ticks:
        texts.append(
            f"{timeline.shifted_ticks} ticks of the schedule lie between two instants and were taken later, "
            f"by {format_duration(timeline.max_shift_ns)} at most."
        )
    if device is not None:
        texts.append(
            "Requests come when the trace says, however long the ones before take (an open loop); the times "
            "of the trace contain what its own storage could do."
        )
        texts.append("While a snapshot is taken, the guest waits; latencies contain that wait.")
        texts += [f"{device.title}: {text}" for text in device.caveats]
        if not device.validated:
            texts.append(
                f"{device.title} is a model: no disk of yours was measured (snapsim device measure)."
            )
    if mechanism.deletion.kind == "merge":
        texts.append(
            f"Merges ({merge}) run in the background at {format_size(merge_speed)} a second, one after the "
            "other; what they move is not counted as the guest's."
        )
    texts += mechanism.caveats
    return tuple(dict.fromkeys(texts))


def lines_of(replayed: "Replayed") -> Iterator[tuple[str, str]]:
    """Yield what a replay found: what it is about, and a sentence."""
    frame, operations, load = replayed.frame, replayed.operations, replayed.load
    told = load is not None and not load.saturated  # what a saturated device takes says nothing
    yield "blocks of", format_size(replayed.block_size)
    yield "a write", _write(frame, operations)
    yield "a read", _read(replayed)
    if burst := _burst(replayed.bursts, timed=told):
        yield "after a snapshot", burst
    yield from _snapshots(operations, timed=told)
    most = frame["space_amplification"].max()
    if not math.isnan(most):
        yield "space", f"{most:.3g} times what the volume shows, at the most"
    for name in ("read", "write"):
        if told and replayed.latencies[name].count:
            yield f"latency of a {name}", _told(replayed.latencies[name])
    if load is not None:
        yield "the device", load_sentence(load, frame)
    if replayed.baseline is not None:
        yield "without snapshots", _plain(replayed.baseline)
    yield "known how", _evidence(replayed)
    yield "coverage", replayed.coverage.verdict


def _plain(baseline: "Replayed") -> str:
    """Say what requests cost where there are no snapshots."""
    frame, told = baseline.frame, []
    for verb, done in (("write", "written"), ("read", "read")):
        ratio = _over(int(frame[f"{done}_bytes"].sum()), int(frame[f"guest_{done}_bytes"].sum()))
        if ratio is not None:
            told.append(f"a {verb} {ratio:.3g} times")
    if baseline.load is not None and baseline.load.saturated:
        told.append("the device does not cope either")
    elif baseline.load is not None:
        told += [
            f"99 % of {name}s up to {format_duration(round(one.percentile(99)))}"
            for name, one in baseline.latencies.items()
            if one.count and name != "all"
        ]
        told.append(f"the device busy {_percent(baseline.load.utilisation)} of the time")
    return ", ".join(told)


def io_validated(mechanism: Mechanism) -> bool:
    """Say whether the I/O behind requests was compared with the real system."""
    return mechanism.io is not None and mechanism.io.validated


def _evidence(replayed: "Replayed") -> str:
    """Say what was compared with the real system, and what is only modelled."""
    told = "modelled: what requests do was not compared with the real system"
    if io_validated(replayed.mechanism):
        told = "validated: what requests do was compared with the real system"
    if replayed.device is None:
        return told
    measured = "measured" if replayed.device.validated else "modelled"
    return f"{told}; latencies are those of a {measured} device"


def _write(frame: "pd.DataFrame", operations: "pd.DataFrame") -> str:
    return _moved(
        "write",
        "written",
        int(frame["guest_written_bytes"].sum()),
        int(frame["written_bytes"].sum()),
        {
            "old data copied or filled in": int(frame["copied_bytes"].sum()),
            "tables": int(frame["metadata_written_bytes"].sum()),
            "taking and merging snapshots": int(operations["written_bytes"].sum()),
        },
    )


def _read(replayed: "Replayed") -> str:
    frame, layers = replayed.frame, replayed.layers_per_read
    told = _moved(
        "read",
        "read",
        int(frame["guest_read_bytes"].sum()),
        int(frame["read_bytes"].sum()),
        {
            "old data to copy or fill in": int(frame["copy_read_bytes"].sum()),
            "tables": int(frame["metadata_read_bytes"].sum()),
            "taking and merging snapshots": int(replayed.operations["read_bytes"].sum()),
        },
    )
    if layers is None or layers <= 1:
        return told
    return f"{told}; a block is looked for in {layers:.3g} layers on average"


def _moved(verb: str, done: str, guest: int, whole: int, parts: Mapping[str, int]) -> str:
    """Say what stands behind the guest's requests of one direction."""
    told = ", ".join(f"{format_size(size)} {what}" for what, size in parts.items() if size)
    if not guest:
        return f"the guest {verb}s nothing; {format_size(whole)} are {done}{f': {told}' if told else ''}"
    sizes = f"{format_size(whole)} for {format_size(guest)}"
    text = f"{whole / guest:.3g} times what the guest {verb}s: {sizes}"
    return f"{text}; {told}" if told else text


def _burst(bursts: "pd.DataFrame", *, timed: bool) -> str:
    """Say how writes just after a snapshot differ from later ones."""
    written = bursts[bursts["guest_written_bytes"] > 0]
    if len(written) < 2:
        return ""
    first, last = written.iloc[0], written.iloc[-1]
    ages = bursts["age_ns"].tolist()
    end = ages[ages.index(first["age_ns"]) + 1]
    early, late = (f"{one['write_amplification']:.3g} times" for one in (first, last))
    told = (
        f"in the first {format_duration(int(end))} a write is {early} what the guest writes, from "
        f"{format_duration(int(last['age_ns']))} on {late}"
    )
    if timed and not math.isnan(first["latency_p99_ns"]) and not math.isnan(last["latency_p99_ns"]):
        early, late = (format_duration(round(one["latency_p99_ns"])) for one in (first, last))
        told += f"; 99 % of requests take up to {early}, then {late}"
    return told


def _snapshots(operations: "pd.DataFrame", *, timed: bool) -> Iterator[tuple[str, str]]:
    taken = operations[operations["action"] == "create"]
    deleted = operations[operations["action"] == "delete"]
    count = f"{len(taken)} taken, {len(deleted)} deleted"
    if timed and len(taken):
        pause = taken["pause_ns"]
        if pause.max() > 0:
            count += (
                f"; to take one stops the guest for {format_duration(round(pause.mean()))} on average, "
                f"{format_duration(round(pause.max()))} at the most"
            )
        else:
            count += "; to take one does not stop the guest"
    yield "snapshots", count
    moved = int(deleted["moved_bytes"].sum())
    if moved:
        some = deleted[deleted["moved_bytes"] > 0]
        lasting, extra = some["merge_duration_ns"], int(some["extra_bytes"].max())
        yield (
            "merges",
            (
                f"{len(some)} move {format_size(moved)} in all"
                + (
                    f"; one takes {format_duration(round(lasting.mean()))} on average, "
                    f"{format_duration(round(lasting.max()))} at the most"
                    if timed
                    else ""
                )
                + (f"; one needs up to {format_size(extra)} more space meanwhile" if extra else "")
            ),
        )
    elif len(deleted):
        yield "merges", "none: to delete a snapshot moves no data"


def _told(histogram: "Histogram") -> str:
    mean, *marks = (
        format_duration(round(value))
        for value in (histogram.mean, *(histogram.percentile(p) for p in PERCENTILES.values()))
    )
    told = ", ".join(
        f"{percent:g} % {mark}" for percent, mark in zip(PERCENTILES.values(), marks, strict=True)
    )
    return f"{mean} on average; {told}, the longest {format_duration(histogram.maximum)}"


def _operations(operations: "pd.DataFrame") -> dict[str, object]:
    taken = operations[operations["action"] == "create"]
    deleted = operations[operations["action"] == "delete"]
    merged = deleted[deleted["moved_bytes"] > 0]
    return {
        "created": len(taken),
        "deleted": len(deleted),
        "pause_mean_ns": _number(taken["pause_ns"].mean()),
        "pause_max_ns": _number(taken["pause_ns"].max()),
        "merges": len(merged),
        "moved_bytes": int(deleted["moved_bytes"].sum()),
        "read_bytes": int(operations["read_bytes"].sum()),
        "written_bytes": int(operations["written_bytes"].sum()),
        "extra_bytes_max": int(deleted["extra_bytes"].max()) if len(deleted) else 0,
        "merge_duration_mean_ns": _number(merged["merge_duration_ns"].mean()),
        "merge_duration_max_ns": _number(merged["merge_duration_ns"].max()),
    }


def _latency(histogram: "Histogram") -> dict[str, object]:
    return {
        "count": histogram.count,
        "mean_ns": _number(histogram.mean),
        **{f"{name}_ns": _number(histogram.percentile(p)) for name, p in PERCENTILES.items()},
        "max_ns": histogram.maximum,
    }


def _over(over: int, under: int) -> float | None:
    return over / under if under else None


def _number(value: float) -> float | int | None:
    """Return a plain number; None for one that is not known."""
    if isinstance(value, bool | int):
        return value
    plain = float(value)
    return None if math.isnan(plain) else plain


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
