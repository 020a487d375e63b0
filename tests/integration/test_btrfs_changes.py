"""A file in real btrfs snapshots: what the file system says changed is what was changed."""

import json
import os
import re
import subprocess
import time

import numpy as np
import pandas as pd
import pytest

import snapsim as ss
from snapsim.cli import main
from snapsim.errors import RecordingError, TraceError, UsageError
from snapsim.recording.btrfs_changes import parse_dump, read_btrfs
from snapsim.recording.physical_extents import physical_extents
from snapsim.types import DISCARD, WRITE
from snapsim.units import GIB, KIB, MIB
from tests.integration.mounting import mounting_folder

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("btrfs", "mkfs.btrfs")]
CAPACITY, BLOCK = 8 * MIB, 4 * KIB


@pytest.fixture(scope="module")
def root():
    """A file system where btrfs send finds it: in the tree of folders."""
    with mounting_folder("btrfs") as folder:
        image, place = folder / "btrfs.img", folder / "mounted"
        image.touch()
        os.truncate(image, GIB)
        place.mkdir()
        run("mkfs.btrfs", "-q", image)
        run("mount", "-o", "loop", image, place)
        try:
            yield place
        finally:
            run("umount", place)


def run(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


class Volume:
    """A subvolume with an image in it, and what was done to the image."""

    def __init__(self, root, name, *, file="disk.img", in_place=False):
        self.place, self.name, self.file = root, name, file
        run("btrfs", "subvolume", "create", root / name)
        self.path = root / name / file
        self.path.parent.mkdir(exist_ok=True)
        self.path.touch()
        if in_place:
            run("chattr", "+C", self.path)
        os.truncate(self.path, CAPACITY)
        self.requests, self.snapshots = [], []

    def write(self, first, count, byte=0x5A):
        with self.path.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), bytes([byte]) * (count * BLOCK), first * BLOCK)
            os.fsync(file.fileno())
        self.requests.append((time.time_ns(), WRITE, first * BLOCK, count * BLOCK))

    def discard(self, first, count):
        run("fallocate", "-p", "-o", first * BLOCK, "-l", count * BLOCK, self.path)
        self.requests.append((time.time_ns(), DISCARD, first * BLOCK, count * BLOCK))

    def snapshot(self):
        path = self.place / f"{self.name}.{len(self.snapshots)}"
        time.sleep(0.02)  # the kernel's clock has ticks
        run("btrfs", "subvolume", "snapshot", "-r", self.place / self.name, path)
        self.snapshots.append(path)
        time.sleep(0.02)

    def trace(self):
        times, *columns = map(np.array, zip(*self.requests, strict=True))
        start = int(times[0])
        return ss.Trace.from_arrays(times - start, *columns, capacity=CAPACITY, start=start)


def bytes_of(table):
    table = np.asarray(table)
    return {
        int(block) for offset, length in table for block in range(offset // BLOCK, (offset + length) // BLOCK)
    }


def seen(lifetimes):
    """Return the versions that an instant sees, by birth and death.

    What the first snapshot holds was there before its changes are known: born before the trace, or in it.
    """
    counts = lifetimes.counts
    birth, death = np.indices(counts.shape)
    found = np.where(birth - 1 < death, counts, 0)
    found[1] += found[0]
    return found[1:]


@pytest.mark.parametrize("in_place", [False, True], ids=["cow", "nodatacow"])
@pytest.mark.parametrize("file", ["disk.img", "my images/a disk\\with \xe4.img"])
def test_changes_and_lifetimes_are_those_of_what_was_done(root, in_place, file):
    random = np.random.default_rng(3)
    volume = Volume(root, f"random-{in_place}-{len(file)}", file=file, in_place=in_place)
    expected = []
    blocks = CAPACITY // BLOCK
    for epoch in range(6):
        written, gone = set(), set()
        for _ in range(25):
            first, count = int(random.integers(0, blocks - 40)), int(random.integers(1, 40))
            touched = set(range(first, first + count))
            if epoch and random.random() < 0.3:
                volume.discard(first, count)
                written, gone = written - touched, gone | touched
            else:
                volume.write(first, count, int(random.integers(256)))
                written, gone = written | touched, gone - touched
        expected.append((written, gone))
        volume.snapshot()
    changed = read_btrfs(file, volume.snapshots[::-1])
    assert changed.names == tuple(path.name for path in volume.snapshots)
    assert (changed.grain, changed.capacity) == (BLOCK, CAPACITY)
    assert bytes_of(changed.initial) == expected[0][0]
    held = set(expected[0][0])
    for (written, gone), found in zip(expected[1:], list(changed.changes())[1:], strict=True):
        assert bytes_of(found.written) == written
        # what held nothing before does not become less
        assert bytes_of(found.discarded) & held == gone & held
        held = (held - gone) | written
    one = ss.count_lifetimes(volume.trace(), instants=changed.instants, block_size=BLOCK, initial="thin")
    other = ss.count_lifetimes(changed, block_size=BLOCK)
    assert np.array_equal(seen(one), seen(other))
    assert seen(other).sum() > 1000


def test_an_image_that_grows_and_shrinks(root):
    volume = Volume(root, "sizes")
    volume.write(0, 16)
    volume.snapshot()
    os.truncate(volume.path, CAPACITY + 1000)
    volume.write(2048, 1, 7)
    os.truncate(volume.path, CAPACITY + 1000)
    volume.snapshot()
    os.truncate(volume.path, 8 * BLOCK)
    volume.snapshot()
    changed = read_btrfs("disk.img", volume.snapshots)
    assert changed.capacity == CAPACITY + 1000
    _, grown, shrunk = changed.changes()
    assert grown.written.tolist() == [[CAPACITY, 1000]]
    assert bytes_of(shrunk.discarded) >= set(range(8, 16)) | {2047}
    assert shrunk.written.tolist() == []


def test_zeroes_are_data_and_the_same_bytes_again_are_changes(root):
    volume = Volume(root, "same")
    volume.write(0, 8)
    volume.snapshot()
    volume.write(2, 1)  # the same bytes
    volume.write(4, 1, 0)
    volume.snapshot()
    volume.snapshot()  # nothing
    _, found, nothing = read_btrfs("disk.img", volume.snapshots).changes()
    assert found.written.tolist() == [[2 * BLOCK, BLOCK], [4 * BLOCK, BLOCK]]
    assert (found.discarded.tolist(), nothing.written.tolist()) == ([], [])


def test_reflinks_are_changes(root):
    volume = Volume(root, "reflink")
    volume.write(0, 64)
    volume.snapshot()
    copy = volume.path.with_name("other")
    copy.write_bytes(b"\x01" * (64 * BLOCK))
    with volume.path.open("r+b") as target, copy.open("rb") as source:
        os.copy_file_range(source.fileno(), target.fileno(), 4 * BLOCK, 0, 8 * BLOCK)
    volume.snapshot()
    _, found = read_btrfs("disk.img", volume.snapshots).changes()
    assert found.written.tolist() == [[8 * BLOCK, 4 * BLOCK]]


def test_another_file_of_the_name_is_refused(root):
    volume = Volume(root, "replaced")
    volume.write(0, 4)
    volume.snapshot()
    fresh = volume.path.with_name("new")
    fresh.write_bytes(b"x" * BLOCK)
    fresh.rename(volume.path)
    volume.snapshot()
    with pytest.raises(TraceError, match="is another file than in"):
        read_btrfs("disk.img", volume.snapshots)


def test_a_file_that_is_moved_about_is_followed(root):
    """What changes while it has another name is told under that one: it must not be lost."""
    volume = Volume(root, "moved", file="images/disk.img")
    folder = volume.path.parent
    volume.write(0, 16)
    volume.snapshot()
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    (folder.with_name("elsewhere") / "disk.img").rename(volume.path)
    volume.write(3, 2)
    volume.snapshot()
    folder.with_name("elsewhere").rename(folder.with_name("gone"))
    volume.path.rename(folder / "other")
    (folder / "other").rename(volume.path)
    volume.write(7, 1)
    volume.snapshot()
    _, *found = read_btrfs("images/disk.img", volume.snapshots).changes()
    assert [one.written.tolist() for one in found] == [[[3 * BLOCK, 2 * BLOCK]], [[7 * BLOCK, BLOCK]]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hard", r"hard has 2 names \(hard links\)"),
        ("disk.img", "disk.img has 2 names"),
        ("soft", "is a symbolic link, or lies behind one"),
        ("behind/only", "lies behind one"),
        ("pipe", "pipe is no file"),
    ],
)
def test_other_names_of_a_file_are_refused(root, name, message):
    """Changes are told under one name: of the others it would seem that nothing changed."""
    place = root / "names"
    if not place.exists():
        volume = Volume(root, "names")
        volume.write(0, 4)
        (place / "hard").hardlink_to(volume.path)
        (place / "soft").symlink_to("disk.img")
        (place / "folder").mkdir()
        (place / "folder/only").write_bytes(b"x" * BLOCK)
        (place / "behind").symlink_to("folder")
        os.mkfifo(place / "pipe")
        volume.snapshot()
        volume.write(1, 1)
        volume.snapshot()
    with pytest.raises(TraceError, match=message):
        read_btrfs(name, [root / "names.0", root / "names.1"])


def test_what_cannot_be_read(root, tmp_path):
    volume = Volume(root, "refused")
    volume.write(0, 4)
    volume.snapshot()
    volume.snapshot()
    refused = [
        (("missing", volume.snapshots), TraceError, "missing cannot be read: No such file"),
        (("disk.img", volume.snapshots[:1]), UsageError, "at least two"),
        ((volume.path, volume.snapshots), UsageError, "from the root of the snapshots"),
        (("disk.img", [volume.snapshots[0], root / "refused"]), UsageError, "can be written to"),
        (("disk.img", [tmp_path, tmp_path]), UsageError, "no snapshot"),
        (("disk.img", [tmp_path / "none", tmp_path]), UsageError, "no snapshot: No such file"),
        (("disk.img", [volume.snapshots[0]] * 2), UsageError, "same moment"),
    ]
    for arguments, error, message in refused:
        with pytest.raises(error, match=message):
            read_btrfs(*arguments)
    (root / "refused" / "folder").mkdir()
    volume.snapshot()
    with pytest.raises(UsageError, match="a folder inside a subvolume"):
        read_btrfs("disk.img", [volume.snapshots[0], volume.snapshots[-1] / "folder"])
    with pytest.raises(TraceError, match=r"folder (is no file|cannot be read)"):
        read_btrfs("folder", [volume.snapshots[-1], volume.snapshots[-1]])


def test_without_the_program_it_says_so(root, monkeypatch):
    volume = Volume(root, "no-program")
    volume.write(0, 4)
    volume.snapshot()
    volume.snapshot()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RecordingError, match="install btrfs-progs"):
        read_btrfs("disk.img", volume.snapshots)


def test_the_command(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    volume = Volume(root, "command")
    for number in range(3):
        volume.write(number, 2)
        volume.snapshot()
    snapshots = list(map(str, volume.snapshots))
    assert main(["changes", "btrfs", "disk.img", *snapshots, "-o", "c.parquet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "c.parquet"
    trace = ss.read_trace("c.parquet")
    assert (len(trace.instants), trace.info.format, len(trace)) == (3, "btrfs", 2)
    shown = run("btrfs", "subvolume", "show", snapshots[0])
    taken = re.search(r"Creation time:\s+(.+)", shown)[1]
    assert trace.instants[0] // 10**9 == int(pd.Timestamp(taken).timestamp())
    assert main(["changes", "btrfs", "disk.img", *snapshots[:1], "-o", "d.parquet"]) == 2
    assert "at least two" in capsys.readouterr().err


def test_lines_that_cannot_be_read_are_named():
    with pytest.raises(TraceError, match="line 2: update_extent has no offset"):
        parse_dump("snapshot   ./s  uuid=x\nupdate_extent   ./s/a   len=3\n", "a")
    with pytest.raises(TraceError, match="line 1"):
        parse_dump("?!\n", "a")
    text = (
        "snapshot   ./s\\ 2  uuid=x\n"
        "clone  ./s\\ 2/a\\\\b  offset=4096 len=8192 from=./s\\ 2/c clone_offset=0\n"
        "update_extent ./s\\ 2/other offset=0 len=1\nrename ./s\\ 2/x  dest=./s\\ 2/y\n"
    )
    extents, replaced = parse_dump(text, "a\\b")
    assert (extents.tolist(), replaced) == ([[4096, 8192]], False)
    assert parse_dump(text, "y")[1]
    assert parse_dump(text, "x")[1]
    moved = (
        "snapshot ./s uuid=x\nrename ./s/f dest=./s/g\nmkdir ./s/o1\nlink ./s/o1/a dest=g/a\n"
        "link ./s/o1/b dest=g/ab\nunlink ./s/g/a\nupdate_extent ./s/g/a offset=9 len=9\n"
        "update_extent ./s/o1/b offset=9 len=9\nupdate_extent ./s/o1/a offset=0 len=4\n"
        "rename ./s/o dest=./s/far\nrename ./s/o1 dest=./s/f\n"
    )
    extents, replaced = parse_dump(moved, "f/a")
    assert (extents.tolist(), replaced) == ([[0, 4]], False)
    assert parse_dump(moved + "unlink ./s/f/a\n", "f/a")[1]


def test_compressed_extents_hold_what_was_done_and_at_most_their_rest(root):
    volume = Volume(root, "compressed")
    run("btrfs", "property", "set", volume.path, "compression", "zlib")
    volume.write(0, 128)
    volume.snapshot()
    volume.write(3, 1, 7)
    volume.discard(100, 2)
    volume.snapshot()
    assert volume.path.stat().st_size == CAPACITY
    (found,) = list(read_btrfs("disk.img", volume.snapshots).changes())[1:]
    assert bytes_of(found.written) >= {3}
    assert bytes_of(found.discarded) == {100, 101}
    assert max(bytes_of(found.written)) < 128


def test_more_extents_than_one_question_answers(root):
    volume = Volume(root, "many")
    with volume.path.open("r+b") as file:
        for block in range(0, 2000, 2):
            os.pwrite(file.fileno(), b"x" * BLOCK, block * BLOCK)
    volume.snapshot()
    volume.write(600, 1)
    volume.write(1800, 1)
    volume.snapshot()
    changed = read_btrfs("disk.img", volume.snapshots)
    with (volume.snapshots[0] / "disk.img").open("rb") as file:
        places = physical_extents(file.fileno())
    assert places.start.tolist() == list(range(0, 2000 * BLOCK, 2 * BLOCK))
    assert bytes_of(changed.initial) == set(range(0, 2000, 2))
    assert bytes_of(list(changed.changes())[1].written) == {600, 1800}
