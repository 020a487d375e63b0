"""The promise about btrfs: with whole extents for versions, its data takes what is predicted, to the byte."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from snapsim.engine.chain import Chain
from snapsim.engine.extent_chain import ExtentChain
from snapsim.engine.lifetimes import Counting
from snapsim.errors import SnapsimError
from snapsim.units import GIB, KIB, MIB
from snapsim.validation.btrfs import BtrfsImage, validate_btrfs
from snapsim.validation.files import batch, filled
from snapsim.validation.image_file import Stamps
from snapsim.validation.loop import loop_mount
from snapsim.validation.operations import Operation, random_operations
from tests.integration.mounting import mounting_folder

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("btrfs", "mkfs.btrfs")]

MODES = pytest.mark.parametrize("in_place", [False, True], ids=["cow", "nodatacow"])


@pytest.fixture
def folder():
    with mounting_folder("btrfs") as place:
        yield place


def agrees(outcome):
    assert outcome.agrees, outcome.frame[~outcome.frame.agrees].head(20).to_string()
    return {total.name: total.states for total in outcome.totals}


@MODES
@pytest.mark.parametrize(
    ("capacity", "block", "piece"),
    [(16 * MIB, 64 * KIB, MIB), (8 * MIB + 3 * 512, 4 * KIB, 64 * KIB), (4 * MIB, 16 * KIB, 0)],
    ids=["full of long extents", "an odd size", "empty"],
)
def test_fifty_random_sequences_agree_in_every_state(folder, capacity, block, piece, in_place):
    """Eighteen sequences of each kind, in each mode: writes, discards, snapshots, deletions, reverts."""
    sequences = []
    for number in range(18):
        drawn = random_operations((number, block), capacity=capacity, block_size=block, requests=40, steps=8)
        sequences.append(filled(drawn, capacity=capacity, length=piece) if piece else drawn)
    outcome = validate_btrfs(sequences, capacity=capacity, folder=folder, in_place=in_place)
    compared = agrees(outcome)
    assert compared["data on the disk"] >= 18 * 8
    assert compared["freed by delete"] + compared["freed by revert"] > 18
    assert outcome.frame.loc[outcome.frame.name == "freed by delete", "measured"].gt(0).any()


@MODES
def test_edges_of_discards_and_the_end_of_the_image(folder, in_place):
    capacity = MIB + 3 * 512
    sequence = [
        Operation("write", 0, capacity),
        Operation("discard", 8192 + 512, 8192),  # two parts and a whole block
        Operation("discard", 65536 + 512, 1024),  # inside a block
        Operation("discard", 131072 + 2048, 4096),  # two neighbours in part: one extent of two blocks
        Operation("snapshot"),
        Operation("discard", 65536 + 512, 1024),
        Operation("discard", 8192 + 4096 + 512, 1024),  # in a hole
        Operation("discard", MIB - 4096 + 512, 4096 - 512 + 3 * 512),  # up to the end
        Operation("write", MIB - 512, 1024),
        Operation("snapshot"),
        Operation("discard", MIB + 512, 1024),  # a part of the cut-off block, up to the end
        Operation("delete", snapshot=0),
        Operation("zeroes", 65536, 65536),
        Operation("delete", snapshot=1),
        Operation("discard", 0, capacity),
    ]
    outcome = validate_btrfs([sequence], capacity=capacity, folder=folder, in_place=in_place)
    agrees(outcome)
    last = outcome.frame[outcome.frame.name == "data on the disk"].iloc[-1]
    assert last.measured == 4096  # the block that the end cuts off is never covered whole


def test_a_long_write_is_cut_into_extents_of_128_mib(folder):
    """All but the first block of each is discarded: what stays on the disk is whole extents."""
    long = [Operation("write", 0, 200 * MIB), Operation("discard", 4096, 200 * MIB - 4096)]
    outcome = validate_btrfs([long], capacity=256 * MIB, folder=folder)
    agrees(outcome)
    assert outcome.rows[0].measured == 128 * MIB


# --- how far the block model is off
# ----------------------------------------------------------------------------------------------


def ratios(*, writes, length, in_place, image=None):
    """Return disk space over the block model's: before snapshots, with three of them, with the newest only.

    What the page on btrfs's extents shows; with an image, every figure is compared with it.
    """
    capacity = 64 * MIB
    chain = ExtentChain(capacity=capacity, in_place=in_place)
    blocks = Chain("shared-tree", Counting(block_size=4096, initial="thin"), capacity=capacity)
    stamps, rng, out = Stamps(capacity), np.random.default_rng(1), []

    def write(operations):
        chain.apply(batch(operations))
        blocks.apply(batch(operations))
        if image is not None:
            with image.open() as file:
                for one in operations:
                    file.request(one, stamps.request(one))

    def ratio():
        if image is not None:
            assert image.used() == chain.data_used
        out.append(chain.data_used / (blocks.total * 4096))

    def burst():
        places = rng.integers(0, capacity // length, writes)
        write([Operation("write", int(place) * length, length) for place in places])

    write(filled([], capacity=capacity))
    burst()
    ratio()
    for number in range(3):
        chain.snapshot()
        blocks.snapshot()
        if image is not None:
            image.snapshot(number)
        burst()
    ratio()
    for number in range(2):
        chain.delete(number)
        blocks.delete(number)
        if image is not None:
            image.delete(number)
    ratio()
    return out


def page_rows():
    """Return the table of the page: mode, writes each time, their length, three ratios."""
    page = Path(__file__).parents[2] / "docs" / "explanation" / "extents_of_btrfs.md"
    cells = re.findall(
        r"^\| (copy-on-write|nodatacow) \| ([\d,]+) of (\d+) KiB \| (.+) \|$", page.read_text(), re.MULTILINE
    )
    return [
        (mode == "nodatacow", int(writes.replace(",", "")), int(length) * KIB, found.split(" | "))
        for mode, writes, length, found in cells
    ]


@pytest.mark.compiled
@pytest.mark.parametrize("row", page_rows(), ids=str)
def test_the_table_of_the_page_is_what_the_model_says(row):
    in_place, writes, length, found = row
    assert [f"{one:.3f}" for one in ratios(writes=writes, length=length, in_place=in_place)] == found


@pytest.mark.slow
@pytest.mark.parametrize("row", page_rows(), ids=str)
def test_the_table_of_the_page_is_what_btrfs_says(folder, row):
    in_place, writes, length, found = row
    with loop_mount(folder, "btrfs", size=16 * GIB) as root:
        image = BtrfsImage(root, capacity=64 * MIB, in_place=in_place)
        real = ratios(writes=writes, length=length, in_place=in_place, image=image)
    assert [f"{one:.3f}" for one in real] == found


@pytest.mark.parametrize(("writes", "length"), [(1000, 4 * KIB), (500, 64 * KIB)])
@MODES
def test_bookends_of_many_writes_agree(folder, writes, length, in_place):
    with loop_mount(folder, "btrfs", size=16 * GIB) as root:
        image = BtrfsImage(root, capacity=64 * MIB, in_place=in_place)
        found = ratios(writes=writes, length=length, in_place=in_place, image=image)
    assert all(ratio >= 1 for ratio in found)
    assert found[0] == 1 if in_place else found[0] > 1.05


# --- nothing stays behind
# ---------------------------------------------------------------------------------


HOLD = """
import sys, time
from pathlib import Path
from snapsim.validation.loop import loop_mount
with loop_mount(Path(sys.argv[1]), "btrfs", size=1 << 30) as root:
    (root / "file").write_bytes(b"x")
    print("mounted", flush=True)
    time.sleep(60)
"""


def backing():
    return [file.read_text() for file in Path("/sys/block").glob("loop*/loop/backing_file")]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_stays_mounted_however_the_process_ends(folder, end):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"mounted\n"
        assert any(str(folder) in file for file in backing())
        assert str(folder) not in Path("/proc/mounts").read_text()
        child.send_signal(end)
    deadline = time.monotonic() + 10  # the kernel lets go of the device a moment later
    while any(str(folder) in file for file in backing()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(str(folder) in file for file in backing())
    assert list(folder.iterdir()) == []


def test_without_root_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SnapsimError, match="needs root"):
        validate_btrfs([], capacity=MIB, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_small_is_no_file_system(folder):
    with (
        pytest.raises(SnapsimError, match=r"mkfs.btrfs .* ended with status"),
        loop_mount(folder, "btrfs", size=MIB),
    ):
        pass
    assert list(folder.iterdir()) == []
