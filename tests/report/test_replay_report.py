"""The page of a replay: what snapshots cost the guest."""

import pytest

import snapsim as ss
from snapsim import report
from snapsim.units import format_size
from tests.report.test_report import Page, make_trace, rows


def make_replay(**changes):
    trace = make_trace()
    policy = ss.Policy(schedule="@hourly", keep_hourly=4)
    timeline = policy.timeline(policy.ticks(trace.start_ns, trace.start_ns + trace.span_ns))
    return trace, ss.replay(trace, timeline, **changes)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    trace, answer = make_replay(mechanism="qcow2-external", device="nvme")
    return answer, Page(
        report.write_replay(answer, tmp_path_factory.mktemp("page") / "page.html", trace=trace)
    )


def test_the_page_holds_the_answer_its_figures_and_the_trace(page):
    answer, page = page
    assert page.text("h1") == [
        "The cost of snapshots on qcow2 external snapshots (overlays), on NVMe SSD, consumer, 1 TB"
    ]
    said = page.text("p")[0]
    assert said.startswith("A write takes ")
    assert "The device copes" in said
    assert answer.coverage.verdict in said
    captions = page.text("figcaption")
    for wanted in ("Amplification: ", "After a snapshot: ", "Latency over time: ", "Latency distribution: "):
        assert any(caption.startswith(wanted) for caption in captions)
    assert all(len(picture["alt"]) > 40 for picture in page.all("img"))
    headings = page.text("h2")
    assert len(headings) == len(set(headings))
    assert {"Key numbers", "The policy", "The mechanism", "Where this comes from"} <= set(headings)


def test_its_numbers_are_the_lines_of_the_text(page):
    answer, page = page
    numbers = dict(rows(page, "What snapshots cost the guest"))
    told = " ".join(answer.text().split())
    assert len(numbers) > 5
    for name, text in numbers.items():
        assert f"{name} {text}" in told


def test_every_snapshot_that_was_taken_or_deleted_has_a_row(page):
    answer, page = page
    operations = answer.operations
    shown = rows(page, f"{len(operations):,} times a snapshot was taken or deleted")
    assert len(shown) == len(operations)
    assert [row[1] for row in shown] == operations["action"].tolist()
    assert [row[4] for row in shown] == [format_size(moved) for moved in operations["moved_bytes"]]


def test_without_a_device_there_are_no_latencies(tmp_path):
    _, answer = make_replay(mechanism="dm-thin", device=None)
    page = Page(report.write_replay(answer, tmp_path / "page.html", title="Only bytes"))
    assert page.text("h1") == ["Only bytes"]
    assert not [caption for caption in page.text("figcaption") if caption.startswith("Latency")]
    assert "The device" not in page.text("p")[0]
    assert any("(modelled)" in caption for caption in page.text("figcaption"))
