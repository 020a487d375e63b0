"""What the readers of binary and odd formats find in public traces.

The figures were computed from the files by other means, and are also those of the format notes.
"""

import importlib

import numpy as np
import pandas as pd
import pytest

from snapsim.errors import TraceError
from snapsim.traces.source import Source

MODULES = ("vscsi", "blkparse", "blktrace", "fio", "fiu", "blkreplay", "hp_srt", "log_writes", "nbdkit")
READERS = {name: importlib.import_module(f"snapsim.traces.readers.{name}").READERS[0] for name in MODULES}

# file, reader, (requests, write share, MiB written, distinct MiB, back-steps), lines skipped, seconds
EXPECTED = [
    ("cloudphysics/cloudPhysicsIO.vscsi", "vscsi", (113_872, 58.7, 2297.0, 815.2, 0), 0, 7200.09),
    ("blkreplay/linux-mysql.load.gz", "blkreplay", (80_794, 91.1, 1050.5, 485.5, 0), 32, 3599.89),
    ("blkreplay/linux-webserver-2.load.gz", "blkreplay", (269_007, 44.6, 1064.5, 310.1, 0), 32, 3600.95),
    ("fiu/mail_cheetah-110108_first10000.blkparse.gz", "fiu", (9_997, 11.0, 4.3, 3.5, 0), 4, 23.57),
    ("fiu/homes.replay.0", "fiu", (1_000, 99.8, 3.9, 0.5, 0), 0, 1120.83),
    ("fiu/mail-01-sample.blkparse", "fiu", (1_025, 2.7, 0.1, 0.1, 17), 0, None),
    # only I, D and C occur in these two; 44 lines of summary, and the actions that are not counted
    ("blktrace/f2fs.blkparse.txt.gz", "blkparse", (5_727, 17.5, 419.5, 397.5, 392), 44 + 2 * 5_727, 1651.02),
    ("blktrace/ext4.blkparse.txt.gz", "blkparse", (9_887, 8.6, 240.3, 239.8, 824), 44 + 9_888 + 9_887, None),
    ("blktrace/sample.blktrace.0", "blktrace", (963, 0.0, 0.0, 0.0, 0), 6_743 - 963, 0.35),
]


@pytest.mark.parametrize(
    ("file", "format", "figures", "skipped", "seconds"), EXPECTED, ids=lambda value: str(value)[:40]
)
def test_figures(public_traces, read_raw, file, format, figures, skipped, seconds):  # noqa: A002
    reading = read_raw(READERS[format], public_traces / file)
    assert tuple(reading.facts().values()) == figures
    assert sum(reading.log.skipped.values()) == skipped
    assert reading.log.dropped == 0
    if seconds is not None:
        assert round(int(np.ptp(reading.raw.time_ns)) / 1e9, 2) == seconds


def test_hp_srt_root_file_system(public_traces, read_raw):
    reading = read_raw(READERS["hp_srt"], public_traces / "hp/ajw.1week.srt")
    root = reading.raw.volume == reading.log.volumes.index("0x08000008")
    assert tuple(reading.facts(root).values()) == (40_293, 77.3, 188.5, 11.5, 0)
    assert len(reading.rows) == 44_519
    assert round(int(reading.raw.length[reading.raw.op == 1].sum()) / 1e6, 1) == 201.8
    assert reading.log.capacities["0x08000008"] == 1_309_896 * 256
    assert int((reading.raw.offset[root] + reading.raw.length[root]).max()) <= 1_309_896 * 256
    assert pd.Timestamp(reading.log.start_ns).isoformat() == "1992-05-30T00:03:06"


def test_fiu_digests(public_traces, read_raw):
    reading = read_raw(READERS["fiu"], public_traces / "fiu/mail_cheetah-110108_first10000.blkparse.gz")
    written = [digest for digest, op in zip(reading.raw.digest, reading.raw.op, strict=True) if op == 1]
    assert {len(digest) for digest in written} == {16}
    assert len(written) - len(set(written)) == 304
    homes = read_raw(READERS["fiu"], public_traces / "fiu/homes.replay.0")
    assert {len(digest) for digest in homes.raw.digest} == {8 * 16}


def test_corrupt_stamps_are_passed_on_to_validation(public_traces, read_raw):
    reading = read_raw(READERS["blkparse"], public_traces / "blktrace/ext4.blkparse.txt.gz")
    assert int((reading.raw.time_ns > 10**18).sum()) == 1


# linux-webserver-2 is in the same format as linux-mysql, and longer
IN_BLOCKS = [row[:2] for row in EXPECTED if "webserver" not in row[0]] + [("hp/ajw.1week.srt", "hp_srt")]


@pytest.mark.parametrize(("file", "format"), IN_BLOCKS)
@pytest.mark.parametrize("block", [1_000, 77_777])
def test_the_size_of_the_blocks_does_not_matter(public_traces, read_raw, file, format, block):  # noqa: A002
    whole = read_raw(READERS[format], public_traces / file)
    parts = read_raw(READERS[format], public_traces / file, block=block)
    assert parts.batches > whole.batches
    for left, right in zip(whole.raw[:6], parts.raw[:6], strict=True):
        np.testing.assert_array_equal(left, right)
    assert parts.log.skipped == whole.log.skipped


def test_each_file_is_recognised_by_its_own_reader_only(public_traces):
    expected = {row[0]: row[1] for row in EXPECTED} | {"hp/ajw.1week.srt": "hp_srt"}
    files = sorted(path for path in public_traces.rglob("*") if path.is_file())
    assert len(files) > len(expected)
    for path in files:
        source = Source(path)
        head = source.head()
        found = [name for name, reader in READERS.items() if reader.sniff(head, source.plain_name)]
        mine = expected.get(path.relative_to(public_traces).as_posix())
        assert found == ([mine] if mine else []), path


@pytest.mark.parametrize(("file", "format"), IN_BLOCKS)
def test_damage_is_reported_and_never_a_traceback(public_traces, read_raw, file, format):  # noqa: A002
    random = np.random.default_rng(20)
    head = np.frombuffer(Source(public_traces / file).head(12_000), np.uint8)
    for attempt in range(20):
        data = head[: random.integers(1, len(head) + 1)].copy()
        places = random.integers(0, len(data), 3 ** (attempt % 6))
        data[places] = random.integers(0, 256, len(places))
        try:
            reading = read_raw(READERS[format], data.tobytes(), block=int(random.choice([100, 5_000])))
        except TraceError as error:
            assert "trace" in str(error)  # noqa: PT017 - most attempts raise nothing
            continue
        columns = [column for column in reading.raw if column is not None]
        assert len({len(column) for column in columns}) == 1
