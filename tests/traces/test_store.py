"""What is stored comes back, whole or not at all."""

import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.errors import StoreError
from snapsim.traces import spool, store
from snapsim.traces.table import EXTRAS
from snapsim.traces.trace import Trace
from tests.conftest import hear_interrupts

REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 50),
        st.integers(0, 3),
        st.integers(0, 1 << 40),
        st.integers(1, 1 << 20),
        st.sampled_from(["a", "b/c", "ü %", ""]),
        st.integers(-1, 5),
        st.binary(max_size=4),
    ),
    max_size=40,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def made(rows, *, volumes, extras=True):
    time_ns, op, offset, length, volume, latency, digest = zip(*rows, strict=True) if rows else ((),) * 7
    more = {"latency_ns": latency, "digest": list(digest)} if extras and rows else {}
    return Trace.from_arrays(
        time_ns, op, offset, length, volume=list(volume) if volumes else None, start="2026-01-01", **more
    )


def columns(trace, rows=1 << 20):
    batches = list(trace.batches(rows=rows, columns=EXTRAS))
    assert all(len(batch.time_ns) <= rows for batch in batches)
    return [
        None if parts[0] is None else np.concatenate(parts).tolist() for parts in zip(*batches, strict=True)
    ]


@given(REQUESTS, st.booleans(), st.booleans(), st.integers(1, 50), st.integers(1, 50), st.integers(1, 9))
def test_round_trip(tmp_path_factory, rows, volumes, extras, batch, group, run):
    trace = made(rows, volumes=volumes, extras=extras)
    path = tmp_path_factory.mktemp("store") / "x.parquet"
    with pytest.MonkeyPatch.context() as patch:  # many row groups and many sorted runs, without many requests
        patch.setattr(store, "_GROUP_ROWS", group)
        patch.setitem(store.write_file.__kwdefaults__, "group_rows", group)
        patch.setitem(spool.Spool.__init__.__kwdefaults__, "run_rows", run)
        assert trace.save(path) == path
    streamed, loaded = store.open(path), store.read(path)
    assert streamed.info == loaded.info == trace.info
    assert columns(streamed, batch) == columns(loaded, batch) == columns(trace)
    assert path.is_dir() == (len(trace.volumes) > 1)
    for first, last in ((0, 25), (10, None), (30, 31)):
        ours, theirs = trace.window(first, last), streamed.window(first, last)
        assert columns(ours) == columns(theirs)
        assert ours.info == theirs.info
    assert columns(streamed.window(10, 40).window(5, 99)) == columns(trace.window(15, 40))
    name = trace.volumes[-1]
    assert columns(streamed.select(volume=name)) == columns(trace.select(volume=name))
    assert streamed.select(volume=name).info == trace.select(volume=name).info
    assert names(path.parent) == ["x.parquet"]


def test_other_programs_can_read_it(tmp_path):
    made([(0, 1, 4096, 512, "", -1, b"")], volumes=False).save(tmp_path / "one.parquet")
    frame = pd.read_parquet(tmp_path / "one.parquet")
    assert frame[["time_ns", "op", "offset", "length"]].to_numpy().tolist() == [[0, 1, 4096, 512]]
    rows = [(0, 1, 0, 512, "a", -1, b""), (1, 1, 0, 512, "b", -1, b"")]
    made(rows, volumes=True).save(tmp_path / "two.parquet")
    assert sorted(path.name for path in (tmp_path / "two.parquet").iterdir()) == [
        "_metadata",
        "volume=a",
        "volume=b",
    ]
    assert pd.read_parquet(tmp_path / "two.parquet")["volume"].tolist() == ["a", "b"]


def test_many_volumes_need_few_open_files(tmp_path):
    vms = [f"vm{number}" for number in range(300)]
    trace = Trace.from_arrays(range(300), [1] * 300, [0] * 300, [512] * 300, volume=vms)
    trace.save(tmp_path / "x.parquet")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(names(Path("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, limits[1]))
    try:
        assert store.read(tmp_path / "x.parquet").fingerprint == trace.fingerprint
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_stored_trace_is_replaced_but_no_other_folder(tmp_path):
    one = made([(0, 1, 0, 512, "", -1, b"")], volumes=False)
    several = made([(0, 1, 0, 512, "a", -1, b""), (1, 1, 0, 512, "b", -1, b"")], volumes=True)
    path = tmp_path / "x.parquet"
    for trace in (one, several, several, one):
        trace.save(path)
        assert store.open(path).fingerprint == trace.fingerprint
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(StoreError, match="photos holds no stored trace"):
        one.save(foreign)
    assert (foreign / "cat.jpg").read_bytes() == b"meow"
    with pytest.raises(StoreError, match="cannot be written"):
        one.save(tmp_path / "missing" / "x.parquet")


def test_what_is_missing_foreign_or_incomplete_is_said_to_be_so(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        store.open(tmp_path / "none.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(StoreError, match="is Parquet, but no stored trace"):
        store.open(tmp_path / "foreign.parquet")
    trace = made([(0, 1, 0, 512, "a", -1, b""), (1, 1, 0, 512, "b", -1, b"")], volumes=True)
    path = trace.save(tmp_path / "x.parquet")
    (path / "volume=b" / "part-0.parquet").unlink()
    with pytest.raises(StoreError, match=r"x.parquet is incomplete: volume=b/part-0.parquet is missing"):
        store.open(path)
    whole = made([(0, 1, 0, 512, "", -1, b"")], volumes=False).save(tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-20])
    with pytest.raises(StoreError, match="is not complete Parquet"):
        store.open(tmp_path / "cut.parquet")
    old = pa.table({"x": [1]}).replace_schema_metadata({"snapsim": '{"drops": []}'})
    pq.write_table(old, tmp_path / "old.parquet")
    with pytest.raises(StoreError, match="another version"):
        store.open(tmp_path / "old.parquet")


class Interrupted:
    """A table that is interrupted in the middle of being read."""

    volumes = ("",)
    extras = ()

    def __init__(self, table, error):
        self.table, self.error = table, error

    def scan(self, rows, extras=()):
        yield from self.table.scan(rows, extras)
        raise self.error


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ValueError("x"), OSError(28, "No space left on device")]
)
def test_an_interrupted_write_leaves_nothing_new(tmp_path, error):
    trace = made([(0, 1, 0, 512, "", -1, b"")], volumes=False)
    other = made([(0, 0, 0, 512, "", -1, b"")], volumes=False)
    path = trace.save(tmp_path / "x.parquet")
    bad = Trace(Interrupted(other._table, error), other.info, measured=True)
    with pytest.raises(StoreError if isinstance(error, OSError) else type(error)):
        bad.save(path)
    assert names(tmp_path) == ["x.parquet"]
    assert store.open(path).fingerprint == trace.fingerprint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_import_leaves_nothing(tmp_path, number):
    script = textwrap.dedent("""
        import sys, time
        from snapsim.traces.formats import convert_trace
        with open("big.csv", "w") as file:
            for second in range(200_000):
                file.write(f"{1538323200 + second},{second % 999},8,1,{second % 3}\\n")
        def progress(done, total):
            print("started", flush=True)
            time.sleep(60)
        convert_trace("big.csv", "big.parquet", progress=progress)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=hear_interrupts,  # noqa: PLW1509  the tests have no threads
    )
    assert process.stdout.readline() == b"started\n"
    assert len(names(tmp_path)) == 2  # it was writing
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert names(tmp_path) == ["big.csv"]


def test_scratch_is_removed_with_the_trace(tmp_path, monkeypatch):
    from snapsim.traces.formats import open_trace

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "x.csv").write_text("128166372003061629,usr,0,Write,8192,4096,1200\n")
    trace = open_trace(tmp_path / "x.csv")
    window = trace.window(0)
    assert len(names(tmp_path)) == 2
    del trace
    assert len(window) == 1
    del window
    deadline = time.monotonic() + 5
    while len(names(tmp_path)) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert names(tmp_path) == ["x.csv"]
