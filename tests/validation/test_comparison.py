"""Predicted beside measured."""

import pytest

from snapsim.validation.comparison import Outcome, Row


def test_exact_figures_have_to_be_equal_and_others_near():
    assert Row("length", "bytes", 4096, 4096).agrees
    assert not Row("length", "bytes", 4096, 4097).agrees
    assert Row("amplification", "ratio", 1.029, 1.0, exact=False, tolerance=0.03).agrees
    assert not Row("amplification", "ratio", 1.04, 1.0, exact=False, tolerance=0.03).agrees
    assert not Row("amplification", "ratio", 0.96, 1.0, exact=False, tolerance=0.03).agrees


def test_nothing_compared_is_no_agreement():
    assert not Outcome("qcow2", ()).agrees


def test_an_outcome_is_a_table_a_frame_and_a_document():
    rows = (
        Row("file length", "bytes", 8192, 8192, state="step 0"),
        Row("file length", "bytes", 12288, 16384, state="step 1"),
        Row("reads", "ratio", 1.5, 1.5, exact=False, tolerance=0.1),
    )
    outcome = Outcome("qcow2-external", rows, {"disk": "1 GiB"}, ("one length was left out",))
    assert not outcome.agrees
    length, reads = outcome.totals
    assert (length.states, length.agreeing, length.predicted, length.worst) == (2, 1, 12288, -4096)
    assert reads.promise == "within 10 %"
    assert outcome.frame["difference"].tolist() == [0, -4096, 0]
    assert outcome.frame["agrees"].tolist() == [True, False, True]
    document = outcome.document()
    assert document["totals"][0]["promise"] == "equal"
    assert document["rows"][1]["agrees"] is False
    lines = outcome.text().splitlines()
    assert lines[0] == "qcow2-external (disk 1 GiB)"
    assert lines[2].split() == ["file", "length", "12", "KiB", "16", "KiB", "2", "1", "-4", "KiB", "equal"]
    assert lines[-1] == "  - one length was left out"


@pytest.mark.parametrize("rows", [(), (Row("a", "count", 1, 1),)])
def test_frames_have_the_same_columns(rows):
    columns = ["state", "name", "unit", "predicted", "measured", "difference", "agrees", "system"]
    assert list(Outcome("x", rows).frame.columns) == columns
