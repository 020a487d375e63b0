"""`compare_mechanisms`: what several ways of keeping snapshots cost on one trace, side by side."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from snapsim import schema
from snapsim.devices import Device
from snapsim.errors import UsageError
from snapsim.mechanisms import Mechanism
from snapsim.mechanisms import mechanism as find_mechanism
from snapsim.planning.replay import Replayed, replay, share
from snapsim.planning.replay_text import io_validated
from snapsim.policy.timeline import Timeline
from snapsim.traces.trace import Trace
from snapsim.units import format_duration, format_size

__all__ = ["COMPARED", "Comparison", "compare_mechanisms"]

COMPARED = ("dm-snapshot", "dm-thin", "qcow2-internal", "qcow2-external")
"""Copy-on-write and redirect-on-write, each with private and with shared stores."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What several mechanisms cost on one trace.

    Attributes
    ----------
    frame : DataFrame
        One row a mechanism, in the order asked for; columns as `snapsim.schema` registers them.
    runs : dict of str to Replayed
        The answers, by the mechanism's name.
    """

    frame: pd.DataFrame
    runs: Mapping[str, Replayed]

    def summary(self) -> dict[str, object]:
        """Return the answers as plain values, ready for JSON.

        Returns
        -------
        dict
            mechanisms: what `Replayed.summary` returns, by name.
        """
        return {"mechanisms": {name: run.summary() for name, run in self.runs.items()}}

    def text(self) -> str:
        """Return the comparison for people.

        Returns
        -------
        str
            A table, and a sentence for each device that does not cope.
        """
        first = next(iter(self.runs.values()))
        where = "" if first.device is None else f", on {first.device.title}"
        heads = ("mechanism", "known how", "a write", "a read", "layers", "copied", "merged", "space")
        timed = ("read 99 %", "write 99 %", "pause", "busy")
        table: list[tuple[str, ...]] = [heads if first.device is None else (*heads, *timed)]
        for row in self.frame.to_dict("records"):
            known = "validated" if io_validated(self.runs[row["mechanism"]].mechanism) else "modelled"
            name, *others = _cells(row, timed=first.device is not None)
            table.append((name, known, *others))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [f"{first.timeline.policy.describe()}{where}"]
        for cells in table:
            shown = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
            lines.append("  " + "  ".join(shown).rstrip())
        lines.append(
            "a write, a read: bytes written and read, copying, tables and merges included, over what the "
            "guest writes and reads"
        )
        if first.device is not None:
            lines.append(
                "99 %: latency that 99 % of them do not exceed; pause: the longest wait for a snapshot"
            )
        lines += [
            f"{name}: the device does not cope: {run.load.offered:.3g} times what it can do is asked of it"
            for name, run in self.runs.items()
            if run.load is not None and run.load.saturated
        ]
        for name, run in self.runs.items():
            full, n = int(run.frame["saturated"].sum()), len(run.frame)
            if full and run.load is not None and not run.load.saturated:
                lines.append(
                    f"{name}: the device is saturated in {full:,} of {n:,} intervals, and requests wait"
                )
        return "\n".join([*lines, f"coverage: {first.coverage.verdict}"])

    def __repr__(self) -> str:
        """Show the comparison."""
        return self.text()

    def _repr_html_(self) -> str:
        import html

        return f"<pre style='font-family:monospace'>{html.escape(self.text())}</pre>"


def compare_mechanisms(
    trace: Trace,
    timeline: Timeline,
    mechanisms: Sequence[str | Path | Mechanism] = COMPARED,
    device: str | Path | Device | None = "nvme",
    *,
    progress: Callable[[int, int | None], None] | None = None,
    **how: Any,
) -> Comparison:
    """Replay one trace through several mechanisms, and put what they cost side by side.

    Parameters
    ----------
    trace : Trace
        Of one volume.
    timeline : Timeline
        Which snapshots exist when.
    mechanisms : sequence of str, path or Mechanism
        How systems keep snapshots; each with its own block size unless `block_size` is given.
    device : str, path, Device or None
        The same for all.
    progress : callable, optional
        Called with (requests done, requests in all), for all mechanisms together.
    **how
        The other parameters of `replay`.

    Returns
    -------
    Comparison
        A row a mechanism, and the answers.

    Raises
    ------
    UsageError
        There is no mechanism, one comes twice, or as `replay`.

    Examples
    --------
    >>> import snapsim as ss
    >>> trace = ss.Trace.from_arrays(
    ...     [10, 30, 50], ["write"] * 3, [0] * 3, [4096] * 3, capacity="1MiB", start=0
    ... )
    >>> timeline = ss.Policy(schedule="20ns", keep_last=2).timeline([20, 40, 60])
    >>> both = ss.compare_mechanisms(trace, timeline, ["dm-snapshot", "qcow2-external"], None)
    >>> both.frame["copied_bytes"].tolist()
    [8192, 122880]
    """
    if isinstance(mechanisms, str | Path | Mechanism):
        mechanisms = [mechanisms]
    found = [find_mechanism(one) for one in mechanisms]
    names = [one.name for one in found]
    if not names:
        raise UsageError("there is no mechanism to compare: give two or more")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"mechanism {twice} is given twice: answers are kept by name")
    runs = {}
    for number, one in enumerate(found):
        runs[one.name] = replay(
            trace, timeline, one, device, progress=share(progress, number, len(found)), **how
        )
    frame = pd.DataFrame([_row(name, run) for name, run in runs.items()])
    schema.check_columns(frame.columns)
    return Comparison(frame=frame, runs=runs)


def _row(name: str, run: Replayed) -> dict[str, object]:
    frame, operations, unknown = run.frame, run.operations, float("nan")
    sums = {
        column: int(frame[column].sum())
        for column in (
            "guest_read_bytes", "guest_written_bytes", "read_bytes", "written_bytes", "metadata_read_bytes",
            "metadata_written_bytes", "flushes", "copied_bytes",
        )
    }  # fmt: skip
    merges = operations[operations["moved_bytes"] > 0]
    latencies = {
        f"latency_{kind}_{what}_ns": value
        for kind in ("read", "write")
        for what, value in (
            ("mean", run.latencies[kind].mean if run.latencies else unknown),
            ("p99", run.latencies[kind].percentile(99) if run.latencies else unknown),
        )
    }
    return {
        "mechanism": name,
        "block_size": run.block_size,
        **sums,
        "write_amplification": _over(sums["written_bytes"], sums["guest_written_bytes"]),
        "read_amplification": _over(sums["read_bytes"], sums["guest_read_bytes"]),
        "layers_per_read": unknown if run.layers_per_read is None else run.layers_per_read,
        "space_amplification": float(frame["space_amplification"].max()),
        "moved_bytes": int(operations["moved_bytes"].sum()),
        "pause_ns": float(operations["pause_ns"].max()) if len(operations) else unknown,
        "merge_duration_ns": float(merges["merge_duration_ns"].max()) if len(merges) else unknown,
        **latencies,
        "utilisation": unknown if run.load is None else run.load.utilisation,
        "saturated": run.load is not None and run.load.saturated,
    }


def _over(over: int, under: int) -> float:
    return over / under if under else float("nan")


def _cells(row: Mapping[Any, Any], *, timed: bool) -> tuple[str, ...]:
    """Return a row of the table for people."""

    def times(name: str) -> str:
        return "-" if math.isnan(row[name]) else f"{row[name]:.3g} x"

    def lasting(name: str) -> str:
        known = not (math.isnan(row[name]) or row["saturated"])
        return format_duration(round(row[name])) if known else "-"

    layers = row["layers_per_read"]
    cells = (
        row["mechanism"], times("write_amplification"), times("read_amplification"),
        "-" if math.isnan(layers) else f"{layers:.3g}",
        format_size(row["copied_bytes"]), format_size(row["moved_bytes"]), times("space_amplification"),
    )  # fmt: skip
    if not timed:
        return cells
    busy = "saturated" if row["saturated"] else f"{100 * row['utilisation']:.3g} %"
    waits = (lasting(name) for name in ("latency_read_p99_ns", "latency_write_p99_ns", "pause_ns"))
    return (*cells, *waits, busy)
