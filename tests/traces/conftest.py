"""Reading with one reader alone: no sorting, no validation."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from snapsim.traces.readers import base, records, tokens
from snapsim.traces.source import Source
from snapsim.types import READ, WRITE


class Reading(NamedTuple):
    """All that a reader yielded for a trace, and its log."""

    raw: base.Raw
    log: base.ReadLog
    batches: int

    @property
    def rows(self):
        """Requests as (time_ns, op, offset, length)."""
        return list(zip(*(column.tolist() for column in self.raw[:4]), strict=True))

    @property
    def drops(self):
        """Damaged lines as (line, field)."""
        return [(drop.line, drop.field) for drop in self.log.drops]

    def facts(self, keep=slice(None)):
        """Return what traces are compared by; MiB written are also counted in distinct 4 KiB pages."""
        time_ns, op, offset, length = (column[keep] for column in self.raw[:4])
        volume = (
            np.zeros(len(op), np.int64) if self.raw.volume is None else self.raw.volume[keep].astype(np.int64)
        )
        write = op == WRITE
        first, last = offset[write] // 4096, (offset[write] + length[write] - 1) // 4096
        counts = last - first + 1
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        pages = np.unique((np.repeat(volume[write], counts) << 40) + np.repeat(first, counts) + within)
        return {
            "requests": len(op),
            "write_percent": round(100 * int(write.sum()) / int(np.isin(op, (READ, WRITE)).sum()), 1),
            "written_mib": round(int(length[write].sum()) / 2**20, 1),
            "distinct_mib": round(len(pages) * 4096 / 2**20, 1),
            "back_steps": int((np.diff(time_ns) < 0).sum()),
        }


@pytest.fixture
def read_raw(tmp_path, monkeypatch):
    """Read bytes or a file with one reader; `block` makes the reader work in blocks of so many bytes."""

    def read(reader, content, *, name="trace", block=None, units=None, **options):
        path = content
        if isinstance(content, bytes):
            path = tmp_path / name
            path.write_bytes(content)
        if block is not None:
            monkeypatch.setattr(tokens, "_BLOCK", block)
            monkeypatch.setattr(records, "_BLOCK", block)
        log = base.ReadLog()
        parts = []
        for part in reader.gather(Path(path)):
            log.file = part.name
            source = Source(part)
            parts += reader.read(source, log, base.Options(units or reader.units, options))
        columns = []
        for column in zip(*parts, strict=True):
            present = [piece is not None for piece in column]
            assert all(present) or not any(present), "a column is there in some batches only"
            columns.append(np.concatenate(column) if all(present) else None)
        return Reading(base.Raw(*columns), log, len(parts))

    return read
