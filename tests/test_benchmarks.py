"""Benchmarks run, what they compare is equal, and the documents say what was measured."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import bench_lifetimes, lru, machine, measure, report, run, workloads
from benchmarks.measure import SMOKE

compiled = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") == "1", reason="benchmarks measure compiled kernels"
)


SLOW = {"start"}  # it compiles every kernel into an empty cache


@compiled
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in run.NAMES]
)
def test_every_benchmark_runs_and_its_table_is_made(name, tmp_path):
    run.write(run.measure(name, SMOKE), tmp_path)
    (result,) = report.load(tmp_path).values()
    assert result["run"]["scale"] == "smoke"
    head, _, columns, rule, *lines = report.section(name, result["rows"]).splitlines()
    assert head.startswith("### ")
    assert len(lines) == len(result["rows"]) > 0
    assert {line.count("|") for line in (columns, rule, *lines)} == {columns.count("|")}
    json.dumps(result, allow_nan=False)


@compiled
@pytest.mark.parametrize("block_size", bench_lifetimes.BLOCK_SIZES)
def test_counter_loop_and_twin_do_the_same(block_size):
    """The check that goes before every measurement, on every made trace and the project's own."""
    for workload in (*workloads.recorded(), *workloads.synthetic(SMOKE)):
        bench_lifetimes.check(bench_lifetimes.first(workload, SMOKE.requests), block_size)


@compiled
def test_the_check_sees_a_difference(monkeypatch):
    workload = next(workloads.synthetic(SMOKE))
    walk = bench_lifetimes._walk

    def wrong(workload, block_size, table):
        walk(workload, block_size, table)
        table.arrays.leaves[0] ^= 1

    monkeypatch.setattr(bench_lifetimes, "_walk", wrong)
    with pytest.raises(AssertionError):
        bench_lifetimes.check(workload, 4096)


@pytest.mark.parametrize("expanded", [False, True])
def test_the_other_cache_is_an_lru_of_the_same_blocks(expanded, tmp_path):
    pytest.importorskip("libcachesim", reason="libcachesim is missing: it is in the extra `bench`")
    *_, mixture = workloads.synthetic(SMOKE)
    cache = lru.LruRun(mixture, 4096, expanded=expanded, folder=tmp_path)  # compares with an LRU of its own
    assert len(cache.objects) == (mixture.blocks(4096) if expanded else mixture.requests)


def test_rounds_alternate_and_ratios_are_formed_within_a_round():
    order = []
    times = iter([9.0, 9.0, 1.0, 2.0, 8.0, 4.0])  # one turn each that does not count, then two rounds

    def candidate(name):
        def run_it():
            order.append(name)
            return next(times)

        return run_it

    seconds = measure.interleaved({"a": candidate("a"), "b": candidate("b")}, rounds=2)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert seconds == {"a": [1.0, 4.0], "b": [2.0, 8.0]}
    assert measure.ratio(seconds["b"], seconds["a"]) == {"median": 2.0, "low": 2.0, "high": 2.0}


def test_spread_is_median_and_quartiles():
    assert measure.spread([5, 1, 4, 2, 3]) == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert measure.significant(123_456.0) == 123_500.0


def test_documents_say_what_was_measured():
    stored = report.load()
    assert tuple(stored) == run.NAMES, "a benchmark has no results: make bench"
    for path, block in report.documents(stored).items():
        text = path.read_text()
        assert report.replaced(text, block) == text, f"{path.name} differs from the results: make bench"
        assert path.name == "README.md" or report.BEGIN in text
    assert report.FIGURE.exists()


def test_results_are_full_runs_and_name_no_host_and_no_folder():
    for name, result in report.load().items():
        assert result["run"]["scale"] == "full", name
        assert result["machine"].keys() == machine.describe().keys()
        assert not re.search(r"(?<![\w.])/\w", json.dumps(result)), f"{name}: a path"


def test_a_block_without_an_end_is_refused():
    assert report.replaced("no marks", "new") == "no marks"
    assert (
        report.replaced(f"a{report.BEGIN}old{report.END}b", "new") == f"a{report.BEGIN}\nnew\n{report.END}b"
    )
    with pytest.raises(ValueError, match="has no"):
        report.replaced(report.BEGIN, "new")


def test_a_smoke_run_does_not_replace_results():
    command = [sys.executable, "-m", "benchmarks.run", "--smoke"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=report.ROOT)
    assert done.returncode == 2
    assert "--results" in done.stderr


def test_made_traces_are_the_same_each_time():
    first, second = (next(workloads.synthetic(SMOKE)) for _ in range(2))
    for one, other in zip(first.batches, second.batches, strict=True):
        for column, again in zip(one[:4], other[:4], strict=True):
            np.testing.assert_array_equal(column, again)
