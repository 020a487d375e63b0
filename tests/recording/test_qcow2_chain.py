"""Real qcow2 chains: what their layers tell is what the trace tells that made them."""

import json
import subprocess

import numpy as np
import pytest

import snapsim as ss
from snapsim.errors import TraceError, UsageError
from snapsim.recording.qcow2_chain import read_qcow2, read_qcow2_chain, read_qcow2_snapshots
from snapsim.recording.qcow2_layers import runs
from snapsim.types import DISCARD, WRITE, WRITE_ZEROES
from snapsim.units import DAY, GIB, KIB, MIB

pytestmark = [pytest.mark.integration, pytest.mark.needs_program("qemu-img", "qemu-io")]

START = 1_767_225_600_000_000_000  # 2026-01-01T00:00Z
VERBS = {WRITE: "write -q", WRITE_ZEROES: "write -q -z -u", DISCARD: "discard -q"}
POLICIES = [
    ss.Policy(schedule="@daily", keep_last=2),
    ss.Policy(schedule="@daily", keep_daily=4),
    ss.Policy(schedule="@daily", keep_daily=2, keep_weekly=2),
]


def run(*command, text=None):
    return subprocess.run(command, input=text, text=True, capture_output=True, check=True).stdout


def create(path, capacity, *, below=None, below_format="qcow2", **options):
    spec = ",".join(f"{name}={value}" for name, value in options.items())
    chosen = ["-o", spec] if spec else []
    backing = ["-b", str(below), "-F", below_format] if below else []
    run("qemu-img", "create", "-q", "-f", "qcow2", *chosen, *backing, str(path), str(capacity))


def apply(path, requests, *, image_format="qcow2"):
    lines = "".join(f"{VERBS[op]} {offset} {length}\n" for op, offset, length in requests)
    said = run("qemu-io", "-f", image_format, "-t", "unsafe", "-d", "unmap", str(path), text=lines)
    assert "failed" not in said, said


def drawn(random, capacity, unit, n, ops):
    """Return requests: writes anywhere, the others over whole units, which is what takes them for sure."""
    found = []
    for op in random.choice(ops, n):
        if op == WRITE:
            offset = int(random.integers(0, (capacity - 256 * KIB) // 512)) * 512
            found.append((int(op), offset, int(random.integers(1, 400)) * 512))
        else:
            first = int(random.integers(0, capacity // unit - 4))
            found.append((int(op), first * unit, int(random.integers(1, 5)) * unit))
    return found


def history(random, capacity, unit, ops, n=7):
    """Return epochs of requests.

    The first only writes: which tables were needed for what is discarded before the first snapshot, a chain
    does not tell.
    """
    return [drawn(random, capacity, unit, 25, ops if number else [WRITE]) for number in range(n)]


def trace_of(epochs, capacity):
    """Return the trace: what epoch i did comes before midnight i."""
    rows = np.array([request for epoch in epochs for request in epoch], np.int64).reshape(-1, 3)
    time = np.repeat(np.arange(len(epochs)) * DAY, [len(epoch) for epoch in epochs]) + DAY // 2
    return ss.Trace.from_arrays(time, *rows.T, capacity=capacity, start=START - DAY)


def midnights(epochs):
    return START + np.arange(len(epochs)) * DAY


def chain_of(folder, epochs, capacity, **options):
    """Make a chain: each epoch writes to a layer of its own."""
    below = None
    for number, requests in enumerate(epochs):
        path = folder / f"layer{number}.qcow2"
        beside = {"data_file": folder / f"{number}.raw"} if options.get("data_file") else {}
        create(path, capacity, below=below, **(options | beside))
        apply(path, requests)
        below = path
    return below


def assert_same_growth(known, changed, epochs, mechanism, size):
    instants = midnights(epochs)
    # what the base holds is known to the chain; the trace begins with nothing
    one = ss.count_lifetimes(known, instants=instants, block_size=size, initial="thin")
    other = ss.count_lifetimes(changed, block_size=size)
    assert np.array_equal(other.instants, instants)
    for policy in POLICIES:
        timeline = policy.timeline(instants)
        expected = ss.growth(one, timeline, mechanism=mechanism, bounds=False)
        found = ss.growth(other, timeline, mechanism=mechanism, bounds=False)
        assert found.frame.equals(expected.frame), (found.frame.compare(expected.frame), mechanism)
        assert found.snapshots.equals(expected.snapshots)


CASES = {
    "64KiB": (64 * KIB, {}),
    "4KiB": (4 * KIB, {"cluster_size": 4096}),
    "512B": (512, {"cluster_size": 512}),
    "2MiB": (2 * MIB, {"cluster_size": 2 * MIB}),
    "version-2": (64 * KIB, {"compat": "0.10"}),
    "data-file": (64 * KIB, {"data_file": True}),
}


OPS = [[WRITE], [WRITE, WRITE, DISCARD], [WRITE, WRITE, DISCARD, WRITE_ZEROES]]


# qcow2 of version 2 has no zero clusters: QEMU writes out as data what hides data of the layer below
@pytest.mark.parametrize(
    ("name", "ops"), [(name, ops) for name in CASES for ops in OPS if name != "version-2" or len(ops) == 1]
)
def test_growth_of_a_chain_is_that_of_the_trace(tmp_path, name, ops):
    unit, options = CASES[name]
    random = np.random.default_rng([len(name), len(ops)])
    capacity = 32 * unit + 16 * MIB + (512 if unit > 512 else 0)
    epochs = history(random, capacity, unit, ops)
    top = chain_of(tmp_path, epochs, capacity, **options)
    changed = read_qcow2_chain(top, instants=midnights(epochs).tolist())
    assert changed.grain == unit
    assert changed.names == tuple(f"layer{number}.qcow2" for number in range(7))
    known = trace_of(epochs, capacity)
    assert_same_growth(known, changed, epochs, "qcow2-external", unit)
    if len(ops) < 4:  # elsewhere zeroes are written, and a chain does not tell them from discards
        for mechanism in ("dm-thin", "wafl", "ebs"):
            size = ss.mechanism(mechanism).block_size
            # in blocks of several clusters, a discard counts if it covers the block whole in one request
            if size == unit or (size % unit == 0 and len(ops) == 1):
                assert_same_growth(known, changed, epochs, mechanism, size)


def test_growth_with_subclusters(tmp_path):
    random = np.random.default_rng(5)
    capacity, size = 24 * MIB, 128 * KIB
    epochs = history(random, capacity, size, [WRITE, WRITE, DISCARD], 5)  # QEMU discards clusters
    top = chain_of(tmp_path, epochs, capacity, cluster_size=size, extended_l2="on")
    changed = read_qcow2(top, instants=midnights(epochs))
    assert changed.grain == 4096
    assert_same_growth(trace_of(epochs, capacity), changed, epochs, "wafl", 4096)


def test_layers_of_different_cluster_sizes_are_known_in_the_largest(tmp_path):
    random = np.random.default_rng(6)
    capacity = 16 * MIB
    epochs = [drawn(random, capacity, 256 * KIB, 25, [WRITE]) for _ in range(4)]
    below = None
    for number, (requests, size) in enumerate(zip(epochs, (65536, 4096, 262144, 65536), strict=True)):
        path = tmp_path / f"layer{number}.qcow2"
        create(path, capacity, below=below, cluster_size=size)
        apply(path, requests)
        below = path
    changed = read_qcow2(below, instants=midnights(epochs))
    assert changed.grain == 256 * KIB
    assert any("different sizes, from 4 KiB" in note for note in changed.info.notes)
    assert_same_growth(trace_of(epochs, capacity), changed, epochs, "qcow2-external", 256 * KIB)


def test_a_discard_of_part_of_the_grain_is_none(tmp_path):
    create(tmp_path / "a.qcow2", MIB, cluster_size=65536)
    apply(tmp_path / "a.qcow2", [(WRITE, 0, MIB)])
    create(tmp_path / "b.qcow2", MIB, below=tmp_path / "a.qcow2", cluster_size=4096)
    apply(tmp_path / "b.qcow2", [(DISCARD, 4096, 2 * 65536)])
    changed = read_qcow2(tmp_path / "b.qcow2", instants=[0, DAY])
    _, change = changed.changes()
    assert change.discarded.tolist() == [[65536, 65536]]
    assert change.written.tolist() == []


def test_a_raw_base(tmp_path):
    with (tmp_path / "base.img").open("wb") as file:
        file.truncate(MIB)
    apply(tmp_path / "base.img", [(WRITE, 256 * KIB, 64 * KIB)], image_format="raw")
    create(tmp_path / "top.qcow2", MIB, below=tmp_path / "base.img", below_format="raw")
    apply(tmp_path / "top.qcow2", [(WRITE, 0, 512)])
    changed = read_qcow2(tmp_path / "top.qcow2", instants=[0, DAY])
    assert changed.initial == ((256 * KIB, 64 * KIB),)
    _, change = changed.changes()
    assert change.written.tolist() == [[0, 65536]]


def test_compressed_clusters_are_data(tmp_path):
    create(tmp_path / "a.qcow2", MIB)
    create(tmp_path / "b.qcow2", MIB, below=tmp_path / "a.qcow2")
    run("qemu-io", "-f", "qcow2", "-c", "write -q -c 65536 65536", str(tmp_path / "b.qcow2"))
    _, change = read_qcow2(tmp_path / "b.qcow2", instants=[0, DAY]).changes()
    assert change.written.tolist() == [[65536, 65536]]


def test_compressed_clusters_among_subclusters_are_data(tmp_path):
    for name, below in (("a", None), ("b", tmp_path / "a.qcow2")):
        create(tmp_path / f"{name}.qcow2", MIB, below=below, extended_l2="on")
    run("qemu-io", "-f", "qcow2", "-c", "write -q -c 65536 65536", str(tmp_path / "b.qcow2"))
    _, change = read_qcow2(tmp_path / "b.qcow2", instants=[0, DAY]).changes()
    assert change.written.tolist() == [[65536, 65536]]


def test_the_first_cluster_of_a_data_file_lies_at_byte_0(tmp_path):
    for name, below in (("a", None), ("b", tmp_path / "a.qcow2")):
        create(tmp_path / f"{name}.qcow2", MIB, below=below, data_file=tmp_path / f"{name}.raw")
        apply(tmp_path / f"{name}.qcow2", [(WRITE, 0, 512)])
    changed = read_qcow2(tmp_path / "b.qcow2", instants=[0, DAY])
    assert changed.initial == ((0, 65536),)
    assert next(one for one in changed.changes() if one).written.tolist() == [[0, 65536]]


def test_an_encrypted_image_tells_what_changed(tmp_path):
    secret = ["--object", "secret,id=s,data=abc"]
    options = "encrypt.format=aes,encrypt.key-secret=s"  # LUKS measures the machine first, which may fail
    create(tmp_path / "a.qcow2", MIB)
    run(
        "qemu-img", "create", "-q", *secret, "-f", "qcow2", "-o", options, "-b", str(tmp_path / "a.qcow2"),
        "-F", "qcow2", str(tmp_path / "b.qcow2"), str(MIB),
    )  # fmt: skip
    place = f"driver=qcow2,encrypt.key-secret=s,file.filename={tmp_path / 'b.qcow2'}"
    run("qemu-io", *secret, "--image-opts", "-c", "write -q 131072 512", place)
    _, change = read_qcow2(tmp_path / "b.qcow2", instants=[0, DAY]).changes()
    assert change.written.tolist() == [[131072, 65536]]


def test_a_disk_that_grew(tmp_path):
    create(tmp_path / "a.qcow2", MIB - 512)
    apply(tmp_path / "a.qcow2", [(WRITE, MIB - 65536, 1024)])
    create(tmp_path / "b.qcow2", 2 * MIB, below=tmp_path / "a.qcow2")
    apply(tmp_path / "b.qcow2", [(WRITE, MIB - 512, 512), (WRITE, 2 * MIB - 512, 512)])
    changed = read_qcow2(tmp_path / "b.qcow2", instants=[0, DAY])
    assert changed.capacity == 2 * MIB
    assert any("resized" in note for note in changed.info.notes)
    _, change = changed.changes()
    assert change.written.tolist() == [[MIB - 65536, 65536], [2 * MIB - 65536, 65536]]


def test_a_disk_that_shrank(tmp_path):
    create(tmp_path / "a.qcow2", 2 * MIB)
    apply(tmp_path / "a.qcow2", [(WRITE, 2 * MIB - 65536, 512)])
    create(tmp_path / "b.qcow2", MIB, below=tmp_path / "a.qcow2")
    apply(tmp_path / "b.qcow2", [(WRITE, 0, 512)])
    changed = read_qcow2(tmp_path / "b.qcow2", instants=[0, DAY])
    assert (changed.capacity, changed.initial) == (2 * MIB, ((2 * MIB - 65536, 65536),))
    assert any("resized" in note for note in changed.info.notes)


def test_the_last_cluster_is_discarded_although_the_disk_ends_in_it(tmp_path):
    for name, below in (("a", None), ("b", tmp_path / "a.qcow2")):
        create(tmp_path / f"{name}.qcow2", MIB + 512, below=below)
        apply(tmp_path / f"{name}.qcow2", [(DISCARD if below else WRITE, MIB, 512)])
    _, change = read_qcow2(tmp_path / "b.qcow2", instants=[0, DAY]).changes()
    assert change.discarded.tolist() == [[MIB, 512]]


def test_large_and_sparse(tmp_path):
    create(tmp_path / "a.qcow2", 2048 * GIB)
    create(tmp_path / "b.qcow2", 2048 * GIB, below=tmp_path / "a.qcow2")
    apply(tmp_path / "b.qcow2", [(WRITE, 1000 * GIB, 512), (WRITE, 2048 * GIB - 512, 512)])
    _, change = read_qcow2(tmp_path / "b.qcow2", instants=[0, DAY]).changes()
    assert change.written.tolist() == [[1000 * GIB, 65536], [2048 * GIB - 65536, 65536]]


def test_moments_are_those_of_the_files(tmp_path):
    create(tmp_path / "a.qcow2", MIB)
    create(tmp_path / "b.qcow2", MIB, below=tmp_path / "a.qcow2")
    changed = read_qcow2(tmp_path / "b.qcow2")
    expected = [(tmp_path / name).stat().st_mtime_ns for name in ("a.qcow2", "b.qcow2")]
    assert changed.instants.tolist() == expected
    assert any("last written" in note for note in changed.info.notes)
    (tmp_path / "a.qcow2").touch()
    with pytest.raises(UsageError, match=r"b\.qcow2 says that it is not newer than a\.qcow2"):
        read_qcow2(tmp_path / "b.qcow2")
    with pytest.raises(UsageError, match="points in time given: 1, but there are 2 states"):
        read_qcow2(tmp_path / "b.qcow2", instants=["2026-01-01"])
    with pytest.raises(UsageError, match="is given as not newer"):
        read_qcow2(tmp_path / "b.qcow2", instants=["2026-01-01", "2026-01-01"])


def test_what_cannot_be_read(tmp_path):
    create(tmp_path / "a.qcow2", MIB)
    with pytest.raises(UsageError, match="neither a backing file nor internal snapshots"):
        read_qcow2(tmp_path / "a.qcow2")
    with pytest.raises(UsageError, match="no internal snapshot"):
        read_qcow2_snapshots(tmp_path / "a.qcow2")
    with pytest.raises(TraceError, match="does not exist"):
        read_qcow2(tmp_path / "nothing.qcow2")
    create(tmp_path / "b.qcow2", MIB, below=tmp_path / "a.qcow2")
    run("qemu-img", "create", "-q", "-f", "qed", "-b", str(tmp_path / "b.qcow2"), "-F", "qcow2",
        str(tmp_path / "c.qed"), str(MIB))  # fmt: skip
    with pytest.raises(TraceError, match="is qed, not qcow2"):
        read_qcow2(tmp_path / "c.qed", instants=[1, 2, 3])
    (tmp_path / "a.qcow2").rename(tmp_path / "gone")
    with pytest.raises(TraceError, match=r"qemu-img cannot read .*a\.qcow2"):
        read_qcow2(tmp_path / "b.qcow2")
    (tmp_path / "gone").rename(tmp_path / "a.qcow2")
    (tmp_path / "lock").write_bytes(b"QFI\xfb\0\0\0\x09" + bytes(504))  # a name is no lock
    with pytest.raises(TraceError, match=r"qemu-img cannot read .*lock: Could not open"):
        read_qcow2(tmp_path / "lock")
    apply(tmp_path / "b.qcow2", [(WRITE, 0, 512)])
    whole = (tmp_path / "b.qcow2").read_bytes()
    (tmp_path / "b.qcow2").write_bytes(whole[: 3 * 65536])
    with pytest.raises(TraceError, match="damaged or still written to"):
        read_qcow2(tmp_path / "b.qcow2", instants=[1, 2])


def test_an_image_in_use_is_not_read(tmp_path):
    for number in range(3):
        create(tmp_path / f"{number}.qcow2", MIB, below=tmp_path / f"{number - 1}.qcow2" if number else None)
    top = str(tmp_path / "2.qcow2")
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", top], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        user.stdin.write("write 0 512\n")
        user.stdin.flush()
        while "wrote" not in user.stdout.readline():
            pass
        with pytest.raises(TraceError, match="in use by another process"):
            read_qcow2(top)
        assert len(read_qcow2(tmp_path / "1.qcow2", instants=[1, 2]).instants) == 2  # nobody writes to it
        user.stdin.close()
        user.wait(timeout=30)


@pytest.mark.parametrize(("unit", "extended"), [(4 * KIB, "off"), (64 * KIB, "off"), (64 * KIB, "on")])
def test_growth_of_internal_snapshots_is_that_of_the_trace(tmp_path, unit, extended):
    random = np.random.default_rng([unit, len(extended)])
    capacity, path = 16 * MIB + 512, tmp_path / "image.qcow2"
    capacity = capacity if extended == "off" else 16 * MIB
    create(path, capacity, cluster_size=unit, extended_l2=extended)
    ops = [WRITE, WRITE, DISCARD] if extended == "off" else [WRITE]
    epochs = history(random, capacity, unit, ops, 6)
    for number, requests in enumerate(epochs):
        apply(path, requests)
        if number < len(epochs) - 1:
            run("qemu-img", "snapshot", "-c", f"s{number}", str(path))
    run("qemu-img", "snapshot", "-d", "s1", str(path))  # what is between its neighbours becomes one interval
    epochs[1:3] = [epochs[1] + epochs[2]]
    changed = read_qcow2(path, instants=midnights(epochs))
    assert changed.names == ("s0", "s2", "s3", "s4", "now")
    assert changed.grain == unit
    if unit == 64 * KIB:
        assert_same_growth(trace_of(epochs, capacity), changed, epochs, "qcow2-internal", unit)
    else:
        assert_same_growth(trace_of(epochs, capacity), changed, epochs, "wafl", unit)


def test_internal_snapshots_say_when_they_were_taken(tmp_path):
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    for name in ("first", "second"):
        apply(path, [(WRITE, 0, 512)])
        run("qemu-img", "snapshot", "-c", name, str(path))
    apply(path, [(WRITE, 0, 512)])
    changed = read_qcow2(path)
    told = json.loads(run("qemu-img", "info", "--output=json", str(path)))["snapshots"]
    expected = [one["date-sec"] * 10**9 + one["date-nsec"] for one in told]
    assert changed.instants.tolist() == [*expected, path.stat().st_mtime_ns]
    assert changed.names == ("first", "second", "now")
    over = tmp_path / "over.qcow2"
    create(over, MIB, below=path)
    assert any("2 internal snapshots" in note for note in read_qcow2(over).info.notes)
    # with a backing file an image's own tables do not say what its first snapshot shows
    run("qemu-img", "snapshot", "-c", "third", str(over))
    apply(over, [(WRITE, 0, 512)])
    changed = read_qcow2_snapshots(over)
    assert changed.initial is None
    assert any("has a backing file" in note for note in changed.info.notes)


def test_internal_snapshots_of_a_disk_that_grew(tmp_path):
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    run("qemu-img", "snapshot", "-c", "small", str(path))
    run("qemu-img", "resize", "-q", str(path), str(2 * MIB))
    changed = read_qcow2(path)
    assert changed.capacity == 2 * MIB
    assert any("resized" in note for note in changed.info.notes)


def test_internal_snapshots_of_a_disk_that_was_put_back_to_a_smaller_one(tmp_path):
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    run("qemu-img", "snapshot", "-c", "small", str(path))
    run("qemu-img", "resize", "-q", str(path), str(2 * MIB))
    apply(path, [(WRITE, 2 * MIB - 512, 512)])
    run("qemu-img", "snapshot", "-c", "large", str(path))
    run("qemu-img", "snapshot", "-a", "small", str(path))
    changed = read_qcow2(path, instants=[0, DAY, 2 * DAY])
    assert changed.capacity == 2 * MIB
    _, grown, back = changed.changes()
    assert grown.written.tolist() == back.discarded.tolist() == [[2 * MIB - 65536, 65536]]


@pytest.mark.parametrize("name", ["-f.qcow2", "nbd:disk.qcow2"])
def test_names_that_look_like_something_else(tmp_path, monkeypatch, name):
    create(tmp_path / "base.qcow2", MIB)
    apply(tmp_path / "base.qcow2", [(WRITE, 0, 512)])
    create(tmp_path / name, MIB, below=tmp_path / "base.qcow2")
    monkeypatch.chdir(tmp_path)
    assert read_qcow2(name, instants=[0, DAY]).names == ("base.qcow2", name)


def test_runs_at_the_edges():
    mask = np.array([True, True, False, True])
    assert runs(0, mask, 10, 100).tolist() == [[0, 20], [30, 10]]
    assert runs(0, ~mask, 10, 100).tolist() == [[20, 10]]
    assert runs(3, np.zeros(4, np.bool_), 10, 100).tolist() == []
