"""Bitmaps that QEMU stored in an image: read as QEMU itself shows them."""

import json
import struct
import subprocess

import numpy as np
import pytest

from snapsim.errors import RecordingError
from snapsim.recording.qcow2_bitmaps import bitmap_extents
from tests.recording.qemus import image, qemu

pytestmark = [
    pytest.mark.integration,
    pytest.mark.needs_program("qemu-system-x86_64", "qemu-img", "qemu-nbd"),
]
GIB = 1 << 30


def stored(folder, size, writes, **grains):
    """Return an image with a bitmap for each grain, after writes."""
    file = image(folder / "d.qcow2", size)
    with qemu(folder, {"d": file}) as running:
        for name, grain in grains.items():
            running.monitor.execute(
                "block-dirty-bitmap-add", node="d", name=name, granularity=grain, persistent=True
            )
        for offset, length in writes:
            running.io(f"write -z {offset} {length}")
        running.monitor.execute("quit")
        running.process.wait()
    return file


def shown(file, name, folder):
    """Return what qemu-img shows of a bitmap, through qemu-nbd."""
    socket = folder / "n"
    server = ["qemu-nbd", "--read-only", f"--bitmap={name}", "-f", "qcow2", "-k", str(socket), str(file)]
    with subprocess.Popen(server) as process:
        while not socket.exists():
            assert process.poll() is None
        options = f"driver=nbd,server.type=unix,server.path={socket},x-dirty-bitmap=qemu:dirty-bitmap:{name}"
        said = subprocess.run(
            ["qemu-img", "map", "--output=json", "--image-opts", options],
            capture_output=True,
            check=True,
        )
        process.wait(timeout=30)
    # a dirty piece is shown as one without data
    return [[one["start"], one["length"]] for one in json.loads(said.stdout) if not one["data"]]


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 512, GIB])
def test_bitmaps_are_what_qemu_shows(tmp_path, size):
    rng = np.random.default_rng(size)
    writes = [(int(rng.integers(size // 512 - 1)) * 512, 512) for _ in range(40)] + [(size - 512, 512)]
    grains = {"small": 512, "usual": 65536, "large": 1 << 20}
    file = stored(tmp_path, size, writes, **grains)
    found = bitmap_extents(file)
    assert set(found) == set(grains)
    for name in grains:
        assert found[name].tolist() == shown(file, name, tmp_path)
        assert len(found[name])


def test_clusters_of_bits_that_are_full_or_touch(tmp_path):
    """A cluster of bits at 512 B stands for 256 MiB."""
    file = stored(tmp_path, GIB, [(0, 300 << 20), (511 << 20, 2 << 20)], small=512)
    assert bitmap_extents(file)["small"].tolist() == [[0, 300 << 20], [511 << 20, 2 << 20]]
    raw = bytearray(file.read_bytes())
    (where,) = struct.unpack_from(">Q", raw, directory_of(raw))
    cluster = struct.unpack_from(">Q", raw, where)[0]
    assert cluster  # QEMU stores full clusters, too; the format has a shorter word for them
    struct.pack_into(">Q", raw, where, 1)
    file.write_bytes(raw)
    assert bitmap_extents(file)["small"].tolist() == [[0, 300 << 20], [511 << 20, 2 << 20]]


def directory_of(raw):
    (place,) = struct.unpack_from(">I", raw, 100)
    while (head := struct.unpack_from(">II", raw, place))[0] != 0x23852875:
        place += 8 + -(-head[1] // 8) * 8
    return struct.unpack_from(">Q", raw, place + 24)[0]


def test_what_cannot_be_read(tmp_path):
    assert bitmap_extents(image(tmp_path / "none.qcow2", 1 << 20)) == {}
    (tmp_path / "raw").write_bytes(bytes(1 << 16))
    with pytest.raises(RecordingError, match="no qcow2 image"):
        bitmap_extents(tmp_path / "raw")
    file = stored(tmp_path, 1 << 20, [(0, 512)], small=512)
    raw = bytearray(file.read_bytes())
    directory = directory_of(raw)
    raw[directory + 15] |= 1  # in use: QEMU was killed before it stored it
    file.write_bytes(raw)
    with pytest.raises(RecordingError, match=r"the bitmap small .* was not stored whole"):
        bitmap_extents(file)


@pytest.mark.parametrize("kept", [110, 0x10000, 0x10000 + 20])
def test_an_image_that_a_full_disk_cut_off(tmp_path, kept):
    """The header's extensions, then the table and the bits, which QEMU stores after it, are not there."""
    file = stored(tmp_path, GIB, [(0, 512), (GIB - 512, 512)], small=512)
    assert file.stat().st_size > kept
    with file.open("r+b") as cut:
        cut.truncate(kept)
    with pytest.raises(RecordingError, match=r"d.qcow2 was not stored whole"):
        bitmap_extents(file)


def test_bits_that_end_with_the_file_too_early(tmp_path):
    file = stored(tmp_path, 1 << 20, [(0, 512)], small=512)
    raw = bytearray(file.read_bytes())
    (table,) = struct.unpack_from(">Q", raw, directory_of(raw))
    struct.pack_into(">Q", raw, table, len(raw) - len(raw) % 512)
    file.write_bytes(raw + bytes(512))
    with pytest.raises(RecordingError, match=r"d.qcow2 was not stored whole"):
        bitmap_extents(file)
