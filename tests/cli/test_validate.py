"""`snapsim validate`."""

import pytest

SMALL = ("--check", "space", "--block-size", "64KiB", "--sequences", "1", "--requests", "20")

needs_qemu = pytest.mark.needs_program("qemu-img", "qemu-io", "qemu-storage-daemon")


@pytest.mark.integration
@needs_qemu
def test_predicted_and_measured_stand_side_by_side(run, tmp_path):
    table = tmp_path / "figures.csv"
    got = run("validate", "--system", "qcow2-internal", *SMALL, "--folder", tmp_path, "-o", table)
    assert got.status == 0, got
    head, columns, *lines = got.out.splitlines()
    assert head.startswith("qcow2-internal (QEMU ")
    assert columns.split() == [
        "what",
        "last",
        "predicted",
        "measured",
        "compared",
        "agree",
        "largest",
        "difference",
        "promised",
    ]
    (line,) = (line for line in lines if line.startswith("  clusters in use "))
    assert line.endswith("0 B                 equal") or " 0 B " in line
    compared = len(table.read_text().splitlines()) - 1
    assert f"{compared} of {compared} figures agree" in got.out
    assert [path.name for path in tmp_path.iterdir()] == ["figures.csv"]


@pytest.mark.integration
@needs_qemu
def test_requests_of_a_trace(run, tmp_path, stored):
    told = run(
        "validate", stored, "--system", "qcow2-external", "--check", "space", "--block-size", "4KiB",
        "--requests", "12", "--folder", tmp_path, "--json",
    )  # fmt: skip
    assert told.status == 0, told
    assert told.json["agrees"] is True
    (system,) = told.json["systems"]
    assert system["system"] == "qcow2-external"
    assert system["configuration"]["sequences"] == 1
    assert {row["name"] for row in system["rows"]} >= {"clusters in use", "file length"}
    assert all(row["agrees"] for row in system["rows"])


@pytest.mark.integration
@needs_qemu
def test_what_does_not_agree_is_said_and_is_the_exit_status(run, tmp_path, monkeypatch):
    from snapsim.validation.qcow2_model import InternalModel

    real = InternalModel.payload
    monkeypatch.setattr(InternalModel, "payload", lambda self: real(self) + 1)
    got = run("validate", "--system", "qcow2-internal", *SMALL, "--folder", tmp_path)
    assert got.status == 1
    assert "warning: sequence 0, step 0: clusters in use" in got.err
    told = run("validate", "--system", "qcow2-internal", *SMALL, "--folder", tmp_path, "--json")
    assert told.status == 1
    assert told.json["agrees"] is False


def test_a_missing_program_is_named_with_its_package(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    text = refused("validate", "--system", "qcow2-internal", *SMALL, "--folder", tmp_path, status=1)
    assert "qemu-img is missing" in text
    assert "qemu-utils" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--system", "qcow2-extern"), "did you mean 'qcow2-external'?"),
        (("--check", "speed"), "check 'speed' is unknown"),
        (("--sequences", "0"), "--sequences 0 compares nothing"),
        (("--requests", "-1"), "--requests -1 compares nothing"),
        (("--seed", "-1"), "--seed -1 is negative"),
        (("--block-size", "3KiB"), "does not fit qcow2-external"),
        (("--folder", "nowhere"), "there is no folder nowhere"),
        (("--system", "qcow2-internal", "--check", "merging"), "there is no check merging of qcow2-internal"),
        (("-o", "nowhere/figures.csv"), "there is no folder"),
    ],
)
def test_comparisons_that_make_no_sense(refused, tmp_path, monkeypatch, arguments, match):
    monkeypatch.chdir(tmp_path)
    assert match in refused("validate", *arguments, status=2)
    assert not list(tmp_path.iterdir())


def test_a_trace_of_several_volumes(refused, tmp_path, two_volumes):
    assert "--volume" in refused("validate", two_volumes, "--folder", tmp_path, status=2)
