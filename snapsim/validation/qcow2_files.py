"""Real qcow2 images under a sequence of operations: overlays in files, or snapshots inside one file."""

from collections.abc import Sequence
from pathlib import Path

from snapsim.errors import MeasurementError
from snapsim.validation.operations import Operation
from snapsim.validation.running import run
from snapsim.validation.storage_daemon import StorageDaemon, Watch

__all__ = ["InternalImage", "OverlayFiles"]

_COMMANDS = {
    "read": "read -q",
    "discard": "discard -q",
    "zeroes": "write -q -z -u",
    "flush": "flush",
}


class _Images:
    """What both ways have in common: requests to the active image."""

    def __init__(self, folder: Path, *, capacity: int, cluster_size: int, extended_l2: bool = False) -> None:
        self.folder, self.capacity = folder, capacity
        self._options = f"cluster_size={cluster_size},extended_l2={'on' if extended_l2 else 'off'}"
        self._extended = extended_l2
        self.files = [self._create(None)]
        """The files, the lowest first; the last is written to."""

    def request(self, operations: Sequence[Operation], *, tag: int = 1) -> None:
        """Carry out requests, all in one process; what is written is filled with one byte."""
        lines = []
        for kind, offset, length, *_ in operations:
            if kind == "write":
                lines.append(f"write -q -P {tag} {offset} {length}\n")
            else:
                lines.append(f"{_COMMANDS[kind]} {offset} {length}\n" if length else "flush\n")
        if lines:
            said = run(
                "qemu-io",
                "-f",
                "qcow2",
                "-t",
                "unsafe",
                "-d",
                "unmap",
                str(self.files[-1]),
                text="".join(lines),
            )
            if "failed" in said or "error" in said:
                raise MeasurementError(
                    f"qemu-io could not carry out a request: {said.strip().splitlines()[-1]}"
                )

    def _create(self, below: Path | None) -> Path:
        self._made = getattr(self, "_made", -1) + 1
        path = self.folder / f"layer{self._made}.qcow2"
        backing = () if below is None else ("-b", str(below), "-F", "qcow2")
        run(
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            self._options,
            *backing,
            str(path),
            str(self.capacity),
        )
        return path


class OverlayFiles(_Images):
    """A chain of files.

    Parameters
    ----------
    folder : Path
        Where they are made.
    capacity : int
        Size of the disk.  [bytes]
    cluster_size : int
        [bytes]
    extended_l2 : bool
        With subclusters.
    """

    def snapshot(self) -> None:
        """Freeze the active file and start one on top of it."""
        self.files.append(self._create(self.files[-1]))

    def delete(self, place: int, how: str, watch: Watch | None = None, *, speed: int = 0) -> None:
        """Merge the file of a snapshot and the one above it.

        Parameters
        ----------
        place : int
            Place of the snapshot among those that exist, the oldest first.
        how : {"commit", "stream"}
            Down or up.
        watch : callable, optional
            Called while the job runs.
        speed : int
            At most; 0: no limit.  [bytes/s]
        """
        lower, upper = self.files[place : place + 2]
        gone = lower if how == "stream" else upper
        if how == "stream":
            with StorageDaemon(self.files[: place + 2]) as daemon:
                base = {"base_node": f"layer{place - 1}"} if place else {}
                daemon.job("block-stream", watch, device=f"layer{place + 1}", speed=speed, **base)
        elif watch is None and not self._extended:
            run("qemu-img", "commit", "-q", "-d", "-t", "unsafe", "-b", str(lower), str(upper))
        else:
            self._commit(place, watch, speed=speed)
        self.files.remove(gone)
        self._hang(place, gone=gone, upper=upper)
        gone.unlink()

    def revert(self, place: int) -> None:
        """Drop all above a snapshot, and start a new file on top of it."""
        for file in self.files[place + 1 :]:
            file.unlink()
        del self.files[place + 1 :]
        self.snapshot()

    def raw(self, place: int | None, target: Path) -> None:
        """Write what a snapshot, or the present, shows to a sparse raw file."""
        file = self.files[-1 if place is None else place]
        run("qemu-img", "convert", "-q", "-f", "qcow2", "-O", "raw", "-t", "unsafe", str(file), str(target))

    def _commit(self, place: int, watch: Watch | None, *, speed: int) -> None:
        """Commit a file with another one on top of it, as a running machine has it.

        A commit of the topmost file is a mirror job, which copies pieces of up to 64 KiB: with subclusters
        that is more than the file holds.
        """
        active = self._create(self.files[-1])
        chain = [*self.files, active]
        nodes = {"top_node": f"layer{place + 1}", "base_node": f"layer{place}"}
        with StorageDaemon(chain) as daemon:
            daemon.job("block-commit", watch, device=f"layer{len(chain) - 1}", speed=speed, **nodes)
        active.unlink()

    def _hang(self, place: int, *, gone: Path, upper: Path) -> None:
        """Let the file above the gap name the one below it."""
        above = place + (gone == upper)
        if 0 < above < len(self.files):
            below = self.files[above - 1]
            run("qemu-img", "rebase", "-q", "-u", "-b", str(below), "-F", "qcow2", str(self.files[above]))


class InternalImage(_Images):
    """One file with internal snapshots.

    Parameters
    ----------
    folder : Path
        Where it is made.
    capacity : int
        Size of the disk.  [bytes]
    cluster_size : int
        [bytes]
    """

    def __init__(self, folder: Path, *, capacity: int, cluster_size: int) -> None:
        super().__init__(folder, capacity=capacity, cluster_size=cluster_size)
        self._names: list[str] = []
        self._taken = 0

    def snapshot(self) -> None:
        """Take a snapshot."""
        self._names.append(f"snapshot-{self._taken:031d}")  # 40 bytes, as the mechanism assumes
        self._taken += 1
        self._do("-c", self._names[-1])

    def delete(self, place: int, how: str = "") -> None:
        """Delete a snapshot; there is only one way."""
        del how
        self._do("-d", self._names.pop(place))

    def revert(self, place: int) -> None:
        """Delete the newer snapshots, the newest first, and go back to this one."""
        while len(self._names) > place + 1:
            self.delete(-1)
        self._do("-a", self._names[place])

    def raw(self, place: int | None, target: Path) -> None:
        """Write what a snapshot, or the present, shows to a sparse raw file."""
        chosen = () if place is None else ("-l", f"snapshot.name={self._names[place]}")
        run("qemu-img", "convert", "-q", "-f", "qcow2", "-O", "raw", *chosen, str(self.files[0]), str(target))

    def _do(self, what: str, name: str) -> None:
        file = self.files[0]
        escaped = str(file).replace(",", ",,")
        unsafe = (
            f"driver=qcow2,discard=unmap,cache.no-flush=on,file.driver=file,file.filename={escaped},"
            "file.discard=unmap,file.cache.no-flush=on"
        )
        run("qemu-img", "snapshot", what, name, "--image-opts", unsafe)
