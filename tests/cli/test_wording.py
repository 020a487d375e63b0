"""Parameters of the package become options."""

import pytest

from snapsim.cli.output import print_json
from snapsim.cli.wording import as_options, assignments, known, worded
from snapsim.errors import PolicyError, UsageError


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("is the unit wrong (`time_unit`)?", "is the unit wrong (--time-unit)?"),
        ("`shift=3584` aligns them", "--shift 3584 aligns them"),
        ("say which with format='msr'", "say which with --format msr"),
        ("name it with format=, one of msr", "name it with --format, one of msr"),
        ('such as keep_last=3 or keep_within="2d"', "such as --keep-last 3 or --keep-within 2d"),
        ('schedule="0 1 * * *" is', '--schedule "0 1 * * *" is'),
        ("keep_within: too long", "--keep-within: too long"),
        ("the format of the schedule", "the format of the schedule"),
        ("my_keep_last and keep_lasting stay", "my_keep_last and keep_lasting stay"),
    ],
)
def test_names_of_parameters_become_options(said, shown):
    assert as_options(said) == shown


def test_errors_are_reworded_and_stay_what_they_are():
    with pytest.raises(PolicyError, match=r"^--keep-last 3$") as caught, worded():
        raise PolicyError("keep_last=3")
    assert caught.value.exit_status == 2


def test_pairs():
    assert assignments(["a-b=1", "c=x=y"], option="--option") == {"a_b": "1", "c": "x=y"}
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(UsageError, match="--option"):
            assignments(wrong, option="--option")


def test_the_nearest_name_is_offered():
    assert known("fruit", "pear", ["apple", "pear"]) == "pear"
    with pytest.raises(UsageError, match="did you mean 'apple'"):
        known("fruit", "aple", ["apple", "pear"])
    with pytest.raises(UsageError, match=r"unknown: there are apple, pear; or give none$"):
        known("fruit", "xyz", ["apple", "pear"], instead="none")


def test_json_of_everything_that_answers_hold(capsys, tmp_path):
    import json

    import numpy as np

    value = {
        "path": tmp_path, "whole": np.int64(3), "real": np.float64(0.5), "none": float("nan"),
        "flag": np.bool_(True),
        "array": np.arange(2), 5: ("a", None), "when": np.datetime64("2026-01-01"),
    }  # fmt: skip
    print_json(value)
    got = json.loads(capsys.readouterr().out)
    assert got == {
        "path": str(tmp_path), "whole": 3, "real": 0.5, "none": None, "flag": True,
        "array": [0, 1], "5": ["a", None], "when": got["when"],
    }  # fmt: skip
    assert "2026-01-01" in got["when"]
