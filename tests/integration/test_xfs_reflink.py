"""The promise about reflink copies on XFS: data takes what versions of 4 KiB blocks take, to the byte."""

import os

import numpy as np
import pytest

from snapsim.units import GIB, KIB, MIB
from snapsim.validation.files import filled
from snapsim.validation.image_file import Stamps, union_bytes
from snapsim.validation.loop import loop_mount
from snapsim.validation.operations import Operation, random_operations
from snapsim.validation.xfs import XfsImage, validate_xfs
from tests.integration.mounting import mounting_folder

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("mkfs.xfs")]


@pytest.fixture
def folder():
    with mounting_folder("xfs") as place:
        yield place


def free_bytes(root):
    state = os.statvfs(root)
    return state.f_bfree * state.f_frsize


@pytest.mark.parametrize(
    ("capacity", "block"),
    [(16 * MIB, 64 * KIB), (8 * MIB + 3 * 512, 4 * KIB)],
    ids=["long requests", "an odd size"],
)
def test_random_sequences_agree_in_every_state(folder, capacity, block):
    """Fifty sequences in all, every other one in an image that is full at first."""
    sequences = []
    for number in range(25):
        drawn = random_operations((number, block), capacity=capacity, block_size=block, requests=40, steps=8)
        sequences.append(filled(drawn, capacity=capacity) if number % 2 else drawn)
    outcome = validate_xfs(sequences, capacity=capacity, folder=folder)
    assert outcome.agrees, outcome.frame[~outcome.frame.agrees].head(20).to_string()
    compared = {total.name: total.states for total in outcome.totals}
    assert compared["data on the disk"] >= 25 * 8
    assert compared["freed by delete"] > 10


@pytest.mark.parametrize(("copy_extent_size", "least", "most"), [(4096, 0, MIB), (0, 30 * MIB, 60 * MIB)])
def test_what_comes_on_top_is_reserved_around_copies(folder, copy_extent_size, least, most):
    """By default (0) each copied block reserves 128 KiB around it: of random writes, most of the image."""
    capacity = 64 * MIB
    rng, stamps = np.random.default_rng(1), Stamps(capacity)
    places = [
        Operation("write", int(block) * 4096, 4096) for block in rng.integers(0, capacity // 4096, 2000)
    ]
    with loop_mount(folder, "xfs", size=16 * GIB) as root:
        before = free_bytes(root)
        image = XfsImage(root, capacity=capacity, copy_extent_size=copy_extent_size)
        for step in (filled([], capacity=capacity), places):
            with image.open() as file:
                for one in step:
                    file.request(one, stamps.request(one))
            if step is not places:
                image.snapshot(0)
        on_top = before - free_bytes(root) - image.used()
    assert least <= on_top <= most


def test_what_is_shared_counts_once():
    extents = np.array([[10, 20], [0, 5], [12, 14], [18, 30], [30, 31]], np.int64)
    assert union_bytes(extents) == 26
    assert union_bytes(extents[:0]) == 0
