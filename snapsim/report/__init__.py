"""Answers as one page: self-contained HTML that can be mailed, printed and kept."""

from snapsim.report.page import write, write_replay, write_trace

__all__ = ["write", "write_replay", "write_trace"]
