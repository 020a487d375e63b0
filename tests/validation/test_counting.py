"""System calls, from what strace writes."""

import pytest

from snapsim.validation.counting import FLUSHED, PREPARED, READ_CALL, WRITTEN, count_calls, parse_calls

LOG = """\
461   pread64(4</images/top.qcow2>, ""..., 512, 0) = 512
461   pread64(4</images/top.qcow2>, 0x5622b241b000, 1, 0) = -1 EINVAL (Invalid argument)
461   write(1<pipe:[1]>, ""..., 9) = 9
463   pwrite64(4</images/top.qcow2>, ""..., 65536, 131072 <unfinished ...>
461   write(7<anon_inode:[eventfd]>, ""..., 8) = 8
464   preadv(5</images/base, old.qcow2>, [{iov_base=""..., iov_len=16384}, {iov_base=""..., iov_len=49152}], 2, 327680) = 65536
463   <... pwrite64 resumed>)           = 65536
464   fdatasync(4</images/top.qcow2> <unfinished ...>
464   <... fdatasync resumed>)          = 0
461   write(1<pipe:[1]>, ""..., 9) = 9
463   fallocate(4</images/top.qcow2>, FALLOC_FL_KEEP_SIZE|FALLOC_FL_ZERO_RANGE, 196608, 65536) = 0
463   pwritev2(4</images/top.qcow2>, [{iov_base=""..., iov_len=4096}], 1, 4096, RWF_DSYNC) = 4096
461   +++ exited with 0 +++
"""  # noqa: E501


def test_calls_are_told_apart_and_belong_to_lines_of_input():
    calls = parse_calls(LOG.splitlines())
    top, base = "/images/top.qcow2", "/images/base, old.qcow2"
    seen = [
        (step, kind, calls.files[file], offset, length)
        for step, kind, file, offset, length in zip(*(one.tolist() for one in calls[:5]), strict=True)
    ]
    assert seen == [
        (0, READ_CALL, top, 0, 512),  # what failed does not count
        (1, READ_CALL, base, 327680, 65536),
        (1, WRITTEN, top, 131072, 65536),
        (1, FLUSHED, top, 0, 0),
        (2, PREPARED, top, 196608, 65536),
        (2, WRITTEN, top, 4096, 4096),
    ]
    assert calls.number(WRITTEN, 2).tolist() == [0, 1, 1, 0]
    assert calls.bytes(READ_CALL, 2).tolist() == [512, 65536, 0, 0]
    assert calls.select(calls.kind == FLUSHED).step.tolist() == [1]


def test_nothing_is_no_calls():
    assert len(parse_calls([]).step) == 0


@pytest.mark.integration
@pytest.mark.needs_program("strace", "qemu-io", "qemu-img")
def test_calls_of_a_real_program_are_counted(tmp_path):
    image = tmp_path / "plain.raw"
    image.write_bytes(bytes(1 << 20))
    lines = ["write -q 8192 4096", "read -q 0 512", "flush"]
    calls = count_calls(["qemu-io", "-f", "raw", "-t", "writeback", str(image)], lines)
    ours = calls.select(calls.file == calls.files.index(str(image)))
    after = ours.select(ours.step > 0)
    assert after.bytes(WRITTEN, 3).tolist()[:4] == [0, 4096, 0, 0]
    assert after.bytes(READ_CALL, 3).tolist()[:4] == [0, 0, 512, 0]
    assert after.number(FLUSHED, 3)[3] == 1
