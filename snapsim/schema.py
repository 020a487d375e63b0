"""Every quantity that snapsim reports: its name, dtype, unit and meaning, said once.

Axis labels, table heads, JSON keys and documentation read this registry; frames are checked against it.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Quantity(NamedTuple):
    """One reported quantity.

    Attributes
    ----------
    name : str
        Column name.
    dtype : str
        NumPy or pandas dtype that the column has.
    unit : str
        "bytes", "ns", "1" for counts and ratios, "UTC" for points in time, "" for text.
    label : str
        What an axis or a table head says, without the unit.
    doc : str
        One sentence.
    """

    name: str
    dtype: str
    unit: str
    label: str
    doc: str


_QUANTITIES = (
    Quantity("time", "datetime64[ns, UTC]", "UTC", "Time", "The instant that the row describes."),
    Quantity("snapshots", "int64", "1", "Snapshots", "Snapshots that exist after the prune at this instant."),
    Quantity("live_bytes", "int64", "bytes", "Live data", "What the volume itself shows, in whole blocks."),
    Quantity("snapshot_bytes", "int64", "bytes", "Snapshot data", "Data that only snapshots need."),
    Quantity(
        "metadata_bytes",
        "int64",
        "bytes",
        "Metadata",
        "Tables that the mechanism keeps, for the volume and for its snapshots.",
    ),
    Quantity(
        "memory_bytes", "int64", "bytes", "Memory images", "Saved guest memory of memory and full snapshots."
    ),
    Quantity("total_bytes", "int64", "bytes", "Total", "Live, snapshot, metadata and memory bytes."),
    Quantity(
        "allocated_bytes", "int64", "bytes", "Allocated", "Space that the mechanism holds on its store."
    ),
    Quantity(
        "file_bytes",
        "int64",
        "bytes",
        "File length",
        "Sum of file lengths: a high-water mark where files never shrink.",
    ),
    Quantity(
        "peak_bytes",
        "int64",
        "bytes",
        "Transient peak",
        "Most snapshot space between this instant and the one before: before the prune and during merges.",
    ),
    Quantity(
        "reserve_bytes",
        "int64",
        "bytes",
        "Snapshot reserve",
        "Most that snapshots need since the instant before: data, their tables and memory images.",
    ),
    Quantity(
        "peak_total_bytes",
        "int64",
        "bytes",
        "Peak with the volume",
        "Most since the instant before: live data, snapshot data, all tables, memory images.",
    ),
    Quantity(
        "peak_allocated_bytes",
        "int64",
        "bytes",
        "Peak allocated",
        "Most space that the mechanism holds on its store since the instant before.",
    ),
    Quantity(
        "merged_bytes",
        "int64",
        "bytes",
        "Merged",
        "Layer data that deletions at this instant had to move into a neighbour.",
    ),
    Quantity(
        "copied_bytes",
        "int64",
        "bytes",
        "Copied",
        "Old data that was copied aside or filled in since the row before because snapshots needed it.",
    ),
    Quantity(
        "freed_bytes", "int64", "bytes", "Freed", "Snapshot data that deletions at this instant gave back."
    ),
    Quantity(
        "lower_bytes", "int64", "bytes", "Lower bound", "Snapshot data if nothing existed before the trace."
    ),
    Quantity(
        "upper_bytes",
        "int64",
        "bytes",
        "Upper bound",
        "Snapshot data if the whole volume existed before the trace.",
    ),
    Quantity("taken", "datetime64[ns, UTC]", "UTC", "Taken", "When the snapshot was taken."),
    Quantity(
        "deleted",
        "datetime64[ns, UTC]",
        "UTC",
        "Deleted",
        "When the snapshot was pruned; empty while it is kept.",
    ),
    Quantity("age_ns", "int64", "ns", "Age", "Time since the snapshot was taken."),
    Quantity(
        "exclusive_bytes", "int64", "bytes", "Exclusive", "What deleting this snapshot alone would free."
    ),
    Quantity(
        "written_bytes",
        "int64",
        "bytes",
        "Written",
        "What changed between the kept snapshot before and this one; in a replay all that is written, tables "
        "and merges too.",
    ),
    Quantity("reasons", "object", "", "Reasons", "The rules that keep the snapshot, or why none does."),
    Quantity("snapshot", "object", "", "Snapshot", "What people call the snapshot."),
    Quantity("keep", "bool", "", "Keep", "Whether the policy keeps the snapshot."),
    Quantity("letters", "object", "", "Rules", "A letter for each rule that keeps the snapshot."),
    Quantity(
        "snapshots_iterated",
        "int64",
        "1",
        "Iterated",
        "Snapshots that exist when each was followed by a prune.",
    ),
    Quantity(
        "snapshots_one_shot",
        "int64",
        "1",
        "One-shot",
        "Snapshots that one prune of the whole history would keep.",
    ),
    Quantity(
        "only_iterated", "int64", "1", "Only iterated", "Snapshots that exist, but one prune would not keep."
    ),
    Quantity(
        "only_one_shot", "int64", "1", "Only one-shot", "Snapshots that one prune would keep, but are gone."
    ),
    Quantity("policy", "str", "", "Policy", "The policy that the row describes."),
    Quantity(
        "snapshots_peak", "int64", "1", "Snapshots, most", "Most snapshots that exist just before a prune."
    ),
    Quantity("snapshots_end", "int64", "1", "Snapshots at the end", "Snapshots after the last prune."),
    Quantity("reach_ns", "int64", "ns", "Reach", "Oldest age that a snapshot reached."),
    Quantity(
        "steady",
        "bool",
        "",
        "Steady state",
        "Whether the trace lasts at least as long as the policy reaches.",
    ),
    Quantity(
        "snapshot_peak_bytes",
        "int64",
        "bytes",
        "Snapshot data, peak",
        "Largest transient peak of snapshot data.",
    ),
    Quantity(
        "reserve_peak_bytes",
        "int64",
        "bytes",
        "Snapshot reserve, peak",
        "Most that snapshots ever need: data, their tables and memory images.",
    ),
    Quantity(
        "total_peak_bytes",
        "int64",
        "bytes",
        "Total, peak",
        "Most ever: live data, snapshot data, all tables, memory images.",
    ),
    Quantity(
        "allocated_peak_bytes",
        "int64",
        "bytes",
        "Allocated, peak",
        "Most space that the mechanism ever holds on its store.",
    ),
    Quantity(
        "snapshot_mean_bytes", "float64", "bytes", "Snapshot data, mean", "Mean over time, not over instants."
    ),
    *(
        Quantity(
            f"snapshot_p{percent}_bytes",
            "int64",
            "bytes",
            f"Snapshot data, {percent} %",
            f"Snapshot data that {percent} % of the time do not exceed.",
        )
        for percent in (50, 95, 99)
    ),
    Quantity("snapshot_end_bytes", "int64", "bytes", "Snapshot data at the end", "After the last prune."),
    Quantity("metadata_end_bytes", "int64", "bytes", "Metadata at the end", "After the last prune."),
    Quantity("total_end_bytes", "int64", "bytes", "Total at the end", "After the last prune."),
    Quantity("merged_total_bytes", "int64", "bytes", "Merged, total", "Layer data moved by all deletions."),
    Quantity("copied_total_bytes", "int64", "bytes", "Copied, total", "Old data copied aside over all time."),
    Quantity(
        "freed_total_bytes", "int64", "bytes", "Freed, total", "Snapshot data that all deletions gave back."
    ),
    Quantity(
        "clairvoyant_bytes",
        "int64",
        "bytes",
        "Clairvoyant bound",
        "Least snapshot data of any choice of snapshots that meets the ladder at this instant.",
    ),
    Quantity(
        "clairvoyant_snapshots", "int64", "1", "Clairvoyant snapshots", "Snapshots of the clairvoyant choice."
    ),
    Quantity(
        "everything_bytes",
        "int64",
        "bytes",
        "Keep everything",
        "Snapshot data if a snapshot was kept at every instant so far.",
    ),
    Quantity("age_from_ns", "int64", "ns", "Age from", "Least age of the recovery points in the row."),
    Quantity("age_to_ns", "int64", "ns", "Age to", "Recovery points in the row are younger than this."),
    Quantity(
        "mean_points",
        "float64",
        "1",
        "Recovery points",
        "Snapshots of that age that exist, mean over the run.",
    ),
    Quantity(
        "median_gap_ns",
        "Int64",
        "ns",
        "Gap, median",
        "Time to the next older recovery point, median over the run; empty where there is none.",
    ),
    Quantity("worst_gap_ns", "Int64", "ns", "Gap, worst", "The longest of these times."),
    Quantity("requests", "int64", "1", "Requests", "Requests of all kinds."),
    Quantity("reads", "int64", "1", "Reads", "READ requests."),
    Quantity("writes", "int64", "1", "Writes", "WRITE and WRITE_ZEROES requests."),
    Quantity(
        "read_bytes",
        "int64",
        "bytes",
        "Read",
        "Bytes asked for by READ requests; in a replay all that is read below them, tables and merges too.",
    ),
    Quantity(
        "changed_bytes",
        "int64",
        "bytes",
        "Changed",
        "Distinct bytes written in the interval, in whole blocks.",
    ),
    Quantity(
        "change_rate",
        "float64",
        "bytes/s",
        "Change rate",
        "Distinct bytes written in the interval per second of it.",
    ),
    Quantity(
        "working_set_bytes",
        "int64",
        "bytes",
        "Working set",
        "Distinct bytes touched since the trace's start.",
    ),
    Quantity(
        "written_set_bytes",
        "int64",
        "bytes",
        "Written set",
        "Distinct bytes written since the trace's start.",
    ),
    Quantity("interval_ns", "int64", "ns", "Interval", "Length of the intervals that the row is about."),
    Quantity("intervals", "int64", "1", "Intervals", "Number of intervals of that length."),
    Quantity(
        "mean_changed_bytes",
        "float64",
        "bytes",
        "Changed, mean",
        "Distinct bytes written in an interval, mean over the intervals.",
    ),
    Quantity(
        "max_changed_bytes",
        "int64",
        "bytes",
        "Changed, most",
        "Distinct bytes written in an interval, the most of all intervals.",
    ),
    Quantity(
        "residue_bytes",
        "int64",
        "bytes",
        "Offset modulo block size",
        "Remainder of a request's offset: 0 where it begins on a block boundary.",
    ),
    Quantity("restore", "str", "", "Restore", "The way back: full, partial, incremental or revert."),
    Quantity("read_extents", "int64", "1", "Read in", "Contiguous runs in which it is read."),
    Quantity("write_extents", "int64", "1", "Written in", "Contiguous runs in which it is written."),
    Quantity(
        "discarded_bytes",
        "int64",
        "bytes",
        "Let go",
        "Content that the snapshot does not have and that goes.",
    ),
    Quantity("read_ns", "int64", "ns", "Reading", "Reading it alone."),
    Quantity("write_ns", "int64", "ns", "Writing", "Writing it alone."),
    Quantity("duration_ns", "int64", "ns", "Duration", "From the beginning to the end of it."),
    Quantity("order", "str", "", "Order", "In which order blocks are restored."),
    Quantity("reads_served", "int64", "1", "Reads served", "READ requests that have been served."),
    Quantity("hit_reads", "int64", "1", "Without waiting", "READ requests that met only restored blocks."),
    Quantity("hit_share", "float64", "1", "Without waiting", "Share of reads that met only restored blocks."),
    Quantity("stall_ns", "int64", "ns", "Stalled", "What requests waited for blocks, all together."),
    Quantity("restored_bytes", "int64", "bytes", "Restored", "Content that is there."),
    Quantity("clones", "int64", "1", "Clones", "Clones that exist."),
    Quantity("overlay_bytes", "int64", "bytes", "Overlays", "What all clones hold beside the shared base."),
    Quantity("largest_bytes", "int64", "bytes", "Largest overlay", "What the largest clone holds."),
    Quantity("base_bytes", "int64", "bytes", "Base", "Content of the base image that is shared."),
    Quantity("way", "str", "", "Way", "How clones are kept."),
    Quantity("reset_bytes", "int64", "bytes", "Copied by a reset", "What resetting all clones copies."),
    Quantity("reset_ns", "int64", "ns", "Reset", "How long resetting all clones takes, one after the other."),
    Quantity("saved_bytes", "int64", "bytes", "Saved", "Less than full copies."),
    Quantity("guest_read_bytes", "int64", "bytes", "Read by the guest", "Bytes that READ requests ask for."),
    Quantity(
        "guest_written_bytes",
        "int64",
        "bytes",
        "Written by the guest",
        "Bytes that WRITE and WRITE_ZEROES requests are about.",
    ),
    Quantity(
        "metadata_read_bytes", "int64", "bytes", "Tables read", "Bytes of tables that are read for the guest."
    ),
    Quantity(
        "metadata_written_bytes",
        "int64",
        "bytes",
        "Tables written",
        "Bytes of tables that are written for the guest.",
    ),
    Quantity(
        "copy_read_bytes",
        "int64",
        "bytes",
        "Read to be copied",
        "Old data that is read because a write copies it aside or fills it in.",
    ),
    Quantity("flushes", "int64", "1", "Flushes", "Times that the storage below has to make all durable."),
    Quantity(
        "layers_per_read",
        "float64",
        "1",
        "Layers per read",
        "Layers that a block is looked for in, mean over the blocks that are read; empty where none is.",
    ),
    Quantity(
        "write_amplification",
        "float64",
        "1",
        "Write amplification",
        "Bytes written over bytes that the guest writes; empty where it writes nothing.",
    ),
    Quantity(
        "read_amplification",
        "float64",
        "1",
        "Read amplification",
        "Bytes read, copying included, over bytes that the guest reads; empty where it reads nothing.",
    ),
    Quantity(
        "space_amplification",
        "float64",
        "1",
        "Space amplification",
        "Blocks that the volume and its snapshots take over those that the volume shows.",
    ),
    Quantity("depth", "int64", "1", "Chain depth", "Snapshots that exist."),
    Quantity(
        "extents_per_mib",
        "float64",
        "1",
        "Extents per MiB",
        "Pieces in which what the volume shows lies on the disk.",
    ),
    *(
        Quantity(f"latency_{name}_ns", "float64", "ns", f"Latency, {what}", doc)
        for name, what, doc in (
            ("mean", "mean", "From arrival to finish of a request, mean; empty where none came."),
            ("p50", "50 %", "Latency that 50 % of the requests do not exceed."),
            ("p95", "95 %", "Latency that 95 % of the requests do not exceed."),
            ("p99", "99 %", "Latency that 99 % of the requests do not exceed."),
            ("p999", "99.9 %", "Latency that 99.9 % of the requests do not exceed."),
            ("max", "longest", "The longest latency."),
        )
    ),
    Quantity(
        "backlog",
        "float64",
        "1",
        "Backlog",
        "Requests that have come and are not finished at the end of the interval.",
    ),
    Quantity(
        "utilisation",
        "float64",
        "1",
        "Utilisation",
        "Share of the device's time in which it works on what is finished in the interval.",
    ),
    Quantity(
        "saturated",
        "bool",
        "",
        "Saturated",
        "Whether what comes in the interval takes the device longer than the interval lasts.",
    ),
    Quantity("action", "object", "", "Action", 'What happens to a snapshot: "create" or "delete".'),
    Quantity("pause_ns", "float64", "ns", "Pause", "How long the guest waits while a snapshot is taken."),
    Quantity(
        "moved_bytes",
        "int64",
        "bytes",
        "Moved",
        "Data that a deletion moves into a neighbour, or a restore copies.",
    ),
    Quantity(
        "extra_bytes",
        "int64",
        "bytes",
        "Extra space",
        "The most space that an operation needs over what was held before it.",
    ),
    Quantity("mechanism", "str", "", "Mechanism", "How snapshots are kept."),
    Quantity("block_size", "int64", "bytes", "Block size", "The mechanism's block size."),
    *(
        Quantity(
            f"latency_{kind}_{name}_ns",
            "float64",
            "ns",
            f"Latency of {kind}s, {what}",
            f"From arrival to finish of {kind.upper()} requests: {what}.",
        )
        for kind in ("read", "write")
        for name, what in (("mean", "mean"), ("p99", "99 % do not exceed it"))
    ),
    Quantity(
        "extra_read_ns_per_hour",
        "float64",
        "ns",
        "Extra read time per hour",
        "What the reads of an hour take longer than through one layer.",
    ),
    Quantity(
        "saved_ns_per_hour",
        "float64",
        "ns",
        "Saved per hour",
        "What the reads of an hour take longer than through one layer less.",
    ),
    Quantity("commit_ns", "float64", "ns", "Merge", "What a merge takes the device."),
    Quantity(
        "break_even_hours",
        "float64",
        "1",
        "Hours to break even",
        "Hours after which a merge has saved what it took; infinite where it never does.",
    ),
    Quantity(
        "merge_duration_ns", "float64", "ns", "Merge duration", "From the deletion until its merge is done."
    ),
    Quantity("layers", "int64", "1", "Layers", "Layers of a chain, the oldest one included."),
    Quantity("cache_bytes", "int64", "bytes", "Cache", "Cache that each layer has for its tables."),
    Quantity(
        "reads_per_read",
        "float64",
        "1",
        "Reads per read",
        "Reads from the device, of data and of tables, behind one read of the guest.",
    ),
    Quantity(
        "expected_reads", "float64", "1", "Expected reads", "Reads per read by the formula of `chain_cost`."
    ),
    Quantity("read_latency_ns", "float64", "ns", "Read latency", "Mean of random reads, one at a time."),
    Quantity(
        "sequential_rate",
        "float64",
        "bytes/s",
        "Sequential read",
        "Bytes a second of a read from end to end, one request at a time.",
    ),
    Quantity("stall_max_ns", "int64", "ns", "Longest wait", "What the request waited that waited longest."),
    Quantity("complete_ns", "int64", "ns", "Complete", "When all blocks are there."),
    Quantity("clone", "int64", "1", "Clone", "Number of the clone, from 1."),
    Quantity("trace", "str", "", "Trace", "The trace that the row is about."),
    Quantity("time_scale", "float64", "1", "Time scale", "Represented time per real time of a recording."),
    Quantity("span_ns", "int64", "ns", "Span", "From the first request to the last, represented."),
    Quantity("write_share", "float64", "1", "Writes", "Writes among all requests."),
    Quantity("overwrite_factor", "float64", "1", "Overwrite factor", "Bytes written per distinct byte."),
    Quantity(
        "changed_share",
        "float64",
        "1",
        "Seen by snapshots",
        "Distinct bytes written in each interval, of all bytes written: the rest is overwritten within it.",
    ),
    Quantity("unaligned_share", "float64", "1", "Not aligned", "Requests that are not aligned to 4 KiB."),
    Quantity("zero_share", "float64", "1", "Zero blocks", "Blocks of zeroes among those written."),
    Quantity(
        "duplicate_share",
        "float64",
        "1",
        "Duplicates",
        "Blocks with contents that were written before, anywhere, among those written.",
    ),
    Quantity(
        "unchanged_share",
        "float64",
        "1",
        "Unchanged",
        "Blocks written with what they held, among those where it can be told.",
    ),
    Quantity(
        "compressed_share",
        "float64",
        "1",
        "Compressed",
        "Compressed size of the blocks written that are not zero, of their size.",
    ),
)

QUANTITIES: dict[str, Quantity] = {quantity.name: quantity for quantity in _QUANTITIES}


def label(name: str, unit: str | None = None) -> str:
    """Return the axis label or table head of a quantity.

    Parameters
    ----------
    name : str
        A registered quantity.
    unit : str, optional
        The unit to show instead of the registered one ("GiB").

    Returns
    -------
    str
        For example "Snapshot data [GiB]".

    Examples
    --------
    >>> label("snapshot_bytes", "GiB")
    'Snapshot data [GiB]'
    >>> label("snapshots")
    'Snapshots'
    """
    quantity = QUANTITIES[name]
    shown = unit if unit is not None else quantity.unit
    return quantity.label if shown in {"", "1"} else f"{quantity.label} [{shown}]"


def check_columns(columns: Iterable[str]) -> None:
    """Refuse a column that nobody registered.

    Parameters
    ----------
    columns : iterable of str
        Column names of a frame that is about to be returned.

    Raises
    ------
    KeyError
        A column is not registered: register it here first, with its unit and meaning.
    """
    unknown = [name for name in columns if name not in QUANTITIES]
    if unknown:
        msg = f"columns without an entry in snapsim.schema: {', '.join(unknown)}"
        raise KeyError(msg)
