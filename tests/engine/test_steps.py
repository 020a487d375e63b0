"""What steps say adds up to what the engine counts, and what rows hold to what it keeps."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapsim.engine.chain import ORGANISATIONS, Chain
from snapsim.engine.demonstration import demonstrate
from snapsim.engine.places import held, rows
from snapsim.engine.reference_chain import ReferenceChain
from snapsim.engine.replay import FILLS, Replay
from snapsim.engine.steps import REQUESTS, Operation, carry_out
from snapsim.engine.telling import explain_step
from snapsim.errors import UsageError
from snapsim.testing import strategies
from snapsim.types import FLUSH

KINDS = {code: kind for kind, code in REQUESTS.items()}
OF_REQUESTS = ("reads", "writes", "read_bytes", "written_bytes", "lookups", "copied_blocks")
EVERY = pytest.mark.parametrize("organisation", ORGANISATIONS)


@st.composite
def lives(draw):
    volume = draw(strategies.volumes(large=False))
    counting = draw(strategies.countings(capacity=volume.capacity))
    if counting.initial == "read-first":
        counting = replace(counting, initial="thick")
    how = {
        "fill": draw(st.sampled_from(tuple(FILLS))),
        "merge_gap": draw(st.sampled_from((0, 1, 600, 5000, 16384))),
    }
    return volume, counting, how, draw(strategies.steps(requests=volume.requests))


def twin(counting, capacity):
    return ReferenceChain(
        block_size=counting.block_size, capacity=capacity, initial=counting.initial,
        discard=counting.discard, zeroes=counting.zeroes, grain=counting.grain,
    )  # fmt: skip


def operation_of(step, chain):
    """Return a step of the strategies as an operation; None where there is no snapshot for it."""
    if step.kind in {"snapshot", "flatten"}:
        return Operation(step.kind)
    if not chain.kept:
        return None
    chosen = list(chain.kept)[step.pick % len(chain.kept)]
    if step.kind == "revert":
        return Operation("revert", snapshot=chosen)
    return Operation("delete", snapshot=chosen, how=step.kind)


def moves_of(chain, operation):
    if operation.kind == "delete":
        return chain.delete(operation.snapshot, how=operation.how)
    if operation.kind == "revert":
        return chain.revert(operation.snapshot)
    return getattr(chain, operation.kind)()


@EVERY
@given(life=lives())
def test_steps_add_up_to_what_the_engine_counts(organisation, life):
    """Requests: reads, writes, bytes, look-ups, copies; operations: blocks moved and freed."""
    volume, counting, how, steps = life
    fast = Replay(organisation, counting, capacity=volume.capacity, **how)
    slow = twin(counting, volume.capacity)
    for step in steps:
        if step.kind == "requests":
            traffic = fast.replay(step.requests)
            columns = (column.tolist() for column in step.requests[1:4])
            for i, (op, offset, length) in enumerate(zip(*columns, strict=True)):
                if op == FLUSH:
                    continue
                operation = Operation(KINDS[op], offset, length)
                total = explain_step(slow, operation, organisation=organisation, **how).total()
                assert {name: total[name] for name in OF_REQUESTS} == {
                    name: int(getattr(traffic, name)[i]) for name in OF_REQUESTS
                }
                slow = carry_out(slow, operation)
        else:
            operation = operation_of(step, slow)
            if operation is None:
                continue
            told = explain_step(slow, operation, organisation=organisation, **how).total()
            moves = moves_of(fast, operation)
            slow = carry_out(slow, operation)
            if operation.kind != "snapshot":
                assert (told["copied_blocks"], told["freed_blocks"]) == moves[:2]
        assert held(slow, organisation) == fast.total


@EVERY
@given(life=lives())
def test_rows_hold_what_the_chain_keeps(organisation, life):
    volume, counting, _, steps = life
    fast = Chain(organisation, counting, capacity=volume.capacity)
    slow = twin(counting, volume.capacity)
    for step in steps:
        if step.kind == "requests":
            fast.apply(step.requests)
            slow.apply(step.requests)
        elif operation := operation_of(step, slow):
            moves_of(fast, operation)
            slow = carry_out(slow, operation)
        *past, now = (len(row.own()) for row in rows(slow, organisation))
        if organisation == "private-stores":
            assert (past, now) == (fast.private_stores().tolist(), fast.live)
        elif organisation == "shared-store":
            assert (past, now) == (fast.stores().tolist(), fast.live)
        else:
            assert [*past, now] == fast.layers().tolist()


@EVERY
def test_what_all_show_is_the_same_in_every_organisation(organisation):
    disk = demonstrate(organisation, blocks=3).snapshot().after.write(1).after.snapshot().after
    disk = disk.discard(2).after.write(1).after
    assert disk.shows() == ("v0", "v2", "-")
    assert (disk.shows(0), disk.shows(1)) == (("v0",) * 3, ("v0", "v1", "v0"))
    assert disk.revert(0).after.shows() == ("v0",) * 3
    assert disk.shows() == ("v0", "v2", "-"), "the state before stays"


def test_the_same_history_kept_in_another_way():
    disk = demonstrate("shared-store", blocks=4).snapshot().after.write(1, blocks=2).after
    assert disk.under("overlays").own_blocks() == {"layer of snapshot 0": 4, "active layer": 2}
    assert disk.under("overlays").shows() == disk.shows()
    with pytest.raises(UsageError, match="not one of shared-store"):
        disk.under("tree")


def test_a_write_in_each_organisation():
    """Whole blocks: what copy-on-write copies, redirect-on-write does not."""
    copied = {}
    for name in ORGANISATIONS:
        disk = demonstrate(name, blocks=4).snapshot().after.snapshot().after
        copied[name] = disk.write(3).steps.total()["copied_blocks"]
    assert copied == {"shared-store": 1, "private-stores": 2, "overlays": 0, "shared-tree": 0}


def test_a_read_names_the_layers_that_it_looks_into():
    disk = demonstrate("overlays", blocks=4).snapshot().after.write(0).after.snapshot().after
    look, read = disk.read(0).steps
    assert look.looked == ("active layer", "layer of snapshot 1")
    assert look.text == "block 0: not in the active layer; the layer of snapshot 1 has it"
    assert (read.source, read.read_bytes) == ("layer of snapshot 1", 65536)


def test_commit_copies_down_and_stream_copies_up():
    disk = demonstrate("overlays", blocks=4).write(0).after.snapshot().after.write(1).after.snapshot().after
    commit, stream = disk.delete(0), disk.delete(0, how="stream")
    assert [(step.source, step.target) for step in commit.steps if step.action == "copy"] == [
        ("layer of snapshot 1", "layer of snapshot 0")
    ]
    assert [step.blocks for step in stream.steps if step.action == "copy"] == [(0,), (2,), (3,)]
    assert commit.after.rows() == stream.after.rows()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda disk: disk.write(4), "lie outside the volume of 256 KiB"),
        (lambda disk: disk.write(-1), "lie outside"),
        (lambda disk: disk.write(0, length="1GiB"), "lie outside"),
        (lambda disk: disk.delete(7), "there is no snapshot 7: those that exist are none"),
        (lambda disk: disk.shows(7), "there is no snapshot 7"),
        (lambda disk: disk.do(Operation("copy")), "'copy' is not one of read, write"),
        (lambda disk: disk.snapshot().after.delete(0, how="merge"), "commit, stream"),
        (lambda _: demonstrate("tree"), "shared-tree"),
        (lambda _: demonstrate("overlays", blocks=33), "1 to 32 blocks"),
        (lambda _: demonstrate("overlays", fill="some"), "rest, whole, none"),
    ],
)
def test_what_makes_no_sense_is_refused(ask, message):
    with pytest.raises(UsageError, match=message):
        ask(demonstrate("overlays", blocks=4))
