"""`boot_orders`: a guest starts while its volume is being restored; in which order should the blocks come?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from snapsim import schema
from snapsim._version import __version__
from snapsim.devices import Device
from snapsim.devices import device as find_device
from snapsim.engine.copying import Pieces, copy_time
from snapsim.engine.restore_order import BlockReads, LazyRestore
from snapsim.errors import UsageError
from snapsim.planning.lifetimes import Initial, initial_of
from snapsim.traces.changes import needs_requests
from snapsim.traces.pacing import pace_lines
from snapsim.traces.trace import Moment, Trace
from snapsim.types import READ, Int64Array
from snapsim.units import format_duration, format_size, parse_duration, parse_size

__all__ = ["ORDERS", "BootOrders", "boot_orders"]

ORDERS = ("linear", "hottest", "needed")
"""By address; most often read first; in the order of the first reads."""

_SECOND = 10**9
_MOMENTS = 200
_STREAMS = 8
_MOST_BLOCKS = 1 << 28


@dataclass(frozen=True, kw_only=True, eq=False)
class BootOrders:
    """A guest on a volume that is being restored, in several orders of blocks.

    Attributes
    ----------
    frame : DataFrame
        One row for each order: order, reads, reads_served, duration_ns (until the first `reads` were
        served), hit_reads, hit_share, stall_ns (also of writes that need the rest of a block), stall_max_ns,
        complete_ns.
    progress : DataFrame
        For each order and moment: order, age_ns (since the beginning), restored_bytes, reads_served,
        hit_share (of the reads served since the moment before; NaN where there was none).
    undisturbed_ns : int
        How long the guest takes to its first `reads` on a volume that is all there.  [ns]
    reads : int
        How many reads count as started.
    size : int
        What has to be restored.  [bytes]
    learned : str
        From which reads the order was learned.
    device : Device
        Where the snapshot lies.
    step_ns, jump_ns, fetch_ns : int
        What a block takes in the background in order of address, elsewhere, and on demand.  [ns]
    time_scale : float
        Represented time divided by real time of the recording; 1 for one that was not paced.
    assumptions : tuple of str
        What was assumed.
    provenance : Mapping
        Versions, trace, parameters.
    """

    frame: pd.DataFrame
    progress: pd.DataFrame
    undisturbed_ns: int
    reads: int
    size: int
    learned: str
    device: Device
    step_ns: int
    jump_ns: int
    fetch_ns: int
    time_scale: float
    assumptions: tuple[str, ...]
    provenance: Mapping[str, object]

    def summary(self) -> dict[str, object]:
        """Return the answer as plain values, ready for JSON.

        Returns
        -------
        dict
            device, size, reads, undisturbed_ns, step_ns, jump_ns, fetch_ns, learned, orders (a dict for
            each), time_scale, assumptions, provenance.
        """
        names = ("size", "reads", "undisturbed_ns", "step_ns", "jump_ns", "fetch_ns", "learned")
        return {
            "device": self.device.name,
            **{name: getattr(self, name) for name in names},
            "orders": self.frame.to_dict("records"),
            "time_scale": self.time_scale,
            "assumptions": list(self.assumptions),
            "provenance": dict(self.provenance),
        }

    def text(self) -> str:
        """Return the answer for people.

        Returns
        -------
        str
            Several lines.
        """
        size, start = format_size(self.size), f"first {self.reads:,} reads"
        lines = [
            f"A guest on a volume of {size} that is being restored from {self.device.title}",
            *pace_lines((self.time_scale,)),
            f"  learned from        {self.learned}",
            f"  {'order':<20}{start:<20}{'waited':<12}{'longest':<12}{'without waiting':<18}restored",
        ]
        for row in self.frame.to_dict("records"):
            times = (format_duration(row[name]) for name in ("duration_ns", "stall_ns", "stall_max_ns"))
            until, waited, longest = times
            share = "-" if np.isnan(row["hit_share"]) else f"{row['hit_share']:.1%}"
            lines.append(
                f"  {row['order']:<20}{until:<20}{waited:<12}{longest:<12}{share:<18}"
                f"{format_duration(row['complete_ns'])}"
            )
        lines.append(f"  {'all there':<20}{format_duration(self.undisturbed_ns)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Show the answer."""
        return self.text()

    def _repr_html_(self) -> str:
        import html

        return f"<pre style='font-family:monospace'>{html.escape(self.text())}</pre>"


def boot_orders(
    trace: Trace,
    device: str | Path | Device = "network",
    *,
    after: Moment | None = None,
    window: int | str | None = "10min",
    learn_after: Moment | None = None,
    learn_window: int | str | None = None,
    orders: Sequence[str] = ORDERS,
    reads: int = 1000,
    rate: int | str | None = None,
    initial: Initial = "thick",
    block_size: int | str = "512KiB",
    waits: bool = True,
) -> BootOrders:
    """Compare the orders in which a volume can be restored while its guest already runs.

    Parameters
    ----------
    trace : Trace
        Requests of one volume.
    device : str, path or Device
        Where the snapshot lies.
    after : duration or point in time, optional
        When the guest starts; the trace's start by default.
    window : int or str, optional
        How long it is followed; None: to the end.
    learn_after : duration or point in time, optional
        From when on reads are learned.  By default they are those that are then served: what the same guest
        would do in the same way once more, the most that learning can give.
    learn_window : int or str, optional
        How long; `window` by default.
    orders : sequence of str
        Some of `ORDERS`.
    reads : int
        The guest counts as started when so many reads were served.
    rate : int or str, optional
        At which blocks come in the background in a second ("100MiB"); by default as fast as the device gives
        them in order of address.  [bytes/s]
    initial : str, path, or extents
        What the snapshot holds: "thick" (the whole volume), or a map; see `count_lifetimes`.
    block_size : int or str
        What is fetched at a time.  [bytes]
    waits : bool
        The guest waits for each request before it makes the next one, as when booting; otherwise requests
        come when the trace says.

    Returns
    -------
    BootOrders
        A row for each order.

    Raises
    ------
    UsageError
        There is no request in the window, or a parameter makes no sense.
    DeviceError
        There is no such device.

    Examples
    --------
    >>> import snapsim as ss
    >>> reads = ss.Trace.from_arrays(
    ...     [0, 10**6, 2 * 10**6], ["read"] * 3, [9 << 20, 7 << 20, 9 << 20], [4096] * 3, capacity="16MiB"
    ... )
    >>> boots = ss.boot_orders(reads, "network", reads=3)
    >>> waited = boots.frame.set_index("order")["stall_ns"]
    >>> (waited["needed"] < waited["linear"]).item()
    True
    """
    if not isinstance(trace, Trace):
        raise UsageError(f"trace is a {type(trace).__name__}: read one with snapsim.read_trace")
    needs_requests(trace, "the order of a boot")
    wrong = [one for one in orders if one not in ORDERS]
    if wrong or not orders:
        raise UsageError(f"orders={list(orders)!r} must be some of {', '.join(ORDERS)}")
    if reads < 1:
        raise UsageError(f"reads must be at least 1, but is {reads!r}")
    source, size = find_device(device), parse_size(block_size)
    if size < 1 or -(-trace.capacity // size) > _MOST_BLOCKS:
        raise UsageError(f"block_size={block_size!r} gives too many blocks: choose a larger one")
    served = _span(trace, after, window)
    same = learn_after is None and learn_window is None
    taught = (
        served
        if same
        else _span(trace, after if learn_after is None else learn_after, learn_window or window)
    )
    known = BlockReads.none()
    for batch in taught.batches():
        known = known.add(batch, size)
    if not len(served) or not known.block.size:
        what = "guest to serve" if not len(served) else "read to learn from"
        raise UsageError(f"there is no {what} in that part of the trace: choose after and window otherwise")
    content = _content(initial_of(initial), trace.capacity, size)
    step, jump, fetch = _costs(source, size, rate)
    how = {"capacity": trace.capacity, "block_size": size, "fetch_ns": fetch}
    runs = {}
    for name in orders:
        order, learned = _order(name, content, known)
        steps = np.where(np.arange(len(order)) < learned, jump, step)
        runs[name] = _Run(LazyRestore(order, step_ns=steps, waits=waits, **how), served)
    first_reads = _read_times(served)[:reads]
    undisturbed = int(first_reads[-1]) if len(first_reads) else 0
    return BootOrders(
        frame=_frame(runs, reads),
        progress=_progress(runs, size, reads),
        undisturbed_ns=undisturbed,
        reads=min(reads, len(first_reads)),
        size=min(len(content) * size, trace.capacity),
        learned="the same reads (a start that goes the same way again)"
        if same
        else f"{int(known.reads.sum()):,} block reads of another part of the trace",
        device=source,
        step_ns=step,
        jump_ns=jump,
        fetch_ns=fetch,
        time_scale=trace.info.time_scale,
        assumptions=_assumptions(same=same, waits=waits, rate=rate),
        provenance={
            "snapsim": __version__,
            "trace": {"source": trace.info.source, "fingerprint": trace.fingerprint, "requests": len(served)},
            "block_size": size,
            "rate": size * _SECOND // step if step else 0,
            "waits": waits,
        },
    )


class _Run:
    """One order, run."""

    def __init__(self, lazy: LazyRestore, served: Trace) -> None:
        self.lazy, self.waited, self.longest = lazy, 0, 0
        finish, stall = [], []
        for batch in served.batches():
            met, is_read = self.lazy.use(batch), batch.op == READ
            finish.append(met.finish_ns[is_read])
            stall.append(met.stall_ns[is_read])
            self.waited += int(met.stall_ns.sum())
            self.longest = max(self.longest, int(met.stall_ns.max(initial=0)))
        self.finish, self.stall = np.concatenate(finish), np.concatenate(stall)
        self.complete = self.lazy.complete()


def _span(trace: Trace, after: Moment | None, window: int | str | None) -> Trace:
    begun = trace.window(after)
    length = None if window is None else parse_duration(window)
    return begun if length is None else begun.window(None, length)


def _read_times(served: Trace) -> Int64Array:
    return np.concatenate([batch.time_ns[batch.op == READ] for batch in served.batches()])


def _content(initial: str | tuple[tuple[int, int], ...], capacity: int, size: int) -> Int64Array:
    """Return the blocks that hold something."""
    if initial == "thick":
        return np.arange(-(-capacity // size))
    if isinstance(initial, str):
        raise UsageError(f'initial={initial!r}: say what the snapshot holds, "thick" or a map of extents')
    parts = [np.arange(at // size, (at + length - 1) // size + 1) for at, length in initial if length]
    blocks = np.unique(np.concatenate([*parts, np.zeros(0, np.int64)]))
    if len(blocks) == 0 or blocks[-1] >= -(-capacity // size):
        raise UsageError("initial maps nothing, or something outside the volume")
    return blocks


def _costs(device: Device, size: int, rate: int | str | None) -> tuple[int, int, int]:
    """Return what a block takes in order of address, elsewhere, and on demand.  [ns]"""
    parameters, cold = device.parameters(), device.cold.unit > 0
    n = 512
    line, lengths = np.arange(n) * size, np.full(n, size)
    spread = line * 7919 % (n * size)

    def each(place: Int64Array, streams: int) -> int:
        parts = Pieces(place, line, lengths)
        took = copy_time(parts, parameters, parameters, chunk=size, streams=streams, cold=cold)
        return took.read_ns // n

    if rate is None:
        return each(line, _STREAMS), each(spread, _STREAMS), each(spread, 1)
    given = parse_size(rate)
    if given < 1:
        raise UsageError("rate must be at least one byte a second")
    return size * _SECOND // given, size * _SECOND // given, each(spread, 1)


def _order(name: str, content: Int64Array, known: BlockReads) -> tuple[Int64Array, int]:
    """Return the content in an order, and how many were learned; the others come last, by address."""
    if name == "linear":
        return content, 0
    ranked = known.hottest() if name == "hottest" else known.needed()
    first = ranked[np.isin(ranked, content)]
    return np.concatenate((first, np.setdiff1d(content, first))), len(first)


def _frame(runs: Mapping[str, _Run], reads: int) -> pd.DataFrame:
    rows = []
    for order, run in runs.items():
        hits, n = int(np.count_nonzero(run.stall == 0)), len(run.stall)
        rows.append(
            {
                "order": order,
                "reads": n,
                "reads_served": min(reads, n),
                "duration_ns": int(run.finish[:reads].max(initial=0)),
                "hit_reads": hits,
                "hit_share": hits / n if n else float("nan"),
                "stall_ns": run.waited,
                "stall_max_ns": run.longest,
                "complete_ns": run.complete,
            }
        )
    frame = pd.DataFrame(rows)
    schema.check_columns(frame.columns)
    return frame


def _progress(runs: Mapping[str, _Run], size: int, reads: int) -> pd.DataFrame:
    """Follow all orders on one clock: closely until the first reads were served, then to the end."""
    end = max(max(run.complete, int(run.finish.max(initial=1))) for run in runs.values())
    start = max(int(run.finish[:reads].max(initial=1)) for run in runs.values())
    close = np.linspace(0, min(1.2 * start, end), _MOMENTS // 2)
    ages = np.unique(np.concatenate((close, np.linspace(0, end, _MOMENTS // 2))).astype(np.int64))
    parts = []
    for order, run in runs.items():
        ordered = np.argsort(run.finish, kind="stable")
        served = np.searchsorted(run.finish[ordered], ages, side="right")
        hits = np.concatenate((np.zeros(1, np.int64), np.cumsum(run.stall[ordered] == 0)))[served]
        gained, hit = np.diff(served, prepend=0), np.diff(hits, prepend=0)
        share = np.full(len(ages), np.nan)
        np.divide(hit, gained, out=share, where=gained > 0)
        parts.append(
            pd.DataFrame(
                {
                    "order": order,
                    "age_ns": ages,
                    "restored_bytes": run.lazy.present(ages) * size,
                    "reads_served": served,
                    "hit_share": share,
                }
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    schema.check_columns(frame.columns)
    return frame


def _assumptions(*, same: bool, waits: bool, rate: int | str | None) -> tuple[str, ...]:
    texts = ["Blocks come over one link; a block that a request needs goes before the background."]
    if same:
        texts.append("The order was learned from the very reads that are served: the most it can give.")
    texts.append(
        "The guest makes a request only when the one before is done."
        if waits
        else "Requests come when the trace says, however long the ones before take."
    )
    if rate is None:
        texts.append("The background has the device for itself, with eight reads under way.")
    return tuple(texts)
