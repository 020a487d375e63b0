"""`snapsim record rebuild`: an image from a log of writes that carries their data."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snapsim.cli.output import check_writable, print_json, warn
from snapsim.cli.progress import bar
from snapsim.cli.reading import Json
from snapsim.cli.wording import worded
from snapsim.units import format_size

__all__ = ["rebuild"]


def rebuild(
    log: Path,
    image: Path,
    *,
    base: Path | None = None,
    capacity: Annotated[str | None, Parameter(metavar="SIZE")] = None,
    entry: int | None = None,
    mark: str | None = None,
    discard: str = "zeroes",
    beyond: bool = False,
    as_json: Json = False,
) -> None:
    """Rebuild an image from a log of writes that carries their data (QEMU's blklogwrites, dm-log-writes).

    Parameters
    ----------
    log : Path
        The log; may be compressed.
    image : Path
        The raw image to write, whole or not at all.
    base : Path or None
        The raw image as it was when the log began; zeroes unless said.
    capacity : str or None
        Length of the image ("8GiB"); that of the base, or as far as the log goes, unless said.
    entry : int or None
        The last entry of the log to do.
    mark : str or None
        Stop at the first mark with this text.
    discard : str
        What a discard leaves: zeroes, or ignore (what was there).
    beyond : bool
        Read on behind the entries that the log's superblock vouches for, after a crash.
    as_json : bool
        Print JSON.
    """
    check_writable(image)
    from snapsim.recording.rebuilding import rebuild as rebuilt

    with bar(f"reading {log.name}", unit="B") as progress, worded():
        done = rebuilt(
            log,
            image,
            base=base,
            capacity=capacity,
            entry=entry,
            mark=mark,
            discard=discard,
            beyond=beyond,
            progress=progress,
        )
    if as_json:
        print_json(asdict(done))
        return
    for note in done.notes:
        warn(note)
    print(
        f"{image}: {format_size(done.size)}, rebuilt from {done.entries:,} entries of {log.name}: "
        f"{done.writes:,} writes of {format_size(done.written_bytes)}, "
        f"{done.discards:,} discards of {format_size(done.discarded_bytes)}"
    )
