"""A binary block trace from its files to one trace."""

import struct

from snapsim.traces.formats import open_trace, read_trace

Q, READ, WRITE = 1, 1 << 16, 1 << 17


def write_cpu_file(path, *events):
    """Each event is (time, action bits, sector, bytes)."""
    with path.open("wb") as file:
        for time, action, sector, size in events:
            file.write(
                struct.pack("<IIQQIIIIIHH", 0x65617407, 1, time, sector, size, action, 1, 8 << 20, 0, 0, 0)
            )


def test_all_processors_are_merged_by_time(tmp_path):
    write_cpu_file(tmp_path / "sda.blktrace.0", (100, Q | WRITE, 0, 512), (300, Q | WRITE, 2, 512))
    write_cpu_file(
        tmp_path / "sda.blktrace.1", (200, Q | READ, 1, 512), (150, Q | READ, 9, 512), (400, Q | READ, 3, 512)
    )
    for path in (tmp_path / "sda.blktrace.0", tmp_path / "sda.blktrace.1", tmp_path):
        for trace in (read_trace(path), open_trace(path)):
            frame = trace.to_frame()
            assert (frame["offset"] // 512).tolist() == [0, 9, 1, 2, 3]
            assert trace.span_ns == 300
            # one step back inside one processor's file; another file's start is none
            assert trace.info.out_of_order == 1
            assert trace.info.source == "sda.blktrace.0, sda.blktrace.1"
            assert not trace.info.start_ns
