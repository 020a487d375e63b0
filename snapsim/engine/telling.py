"""What one request or one operation does, step by step and in words, with the I/O of each step.

The steps are told, not carried out: the chain is only looked at.  Their counts add up to those that
`snapsim.engine.replay` counts for a request, and to the `Moves` of `snapsim.engine.chain` for an operation.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from snapsim.engine.chain import ORGANISATIONS, Organisation
from snapsim.engine.places import ACTIVE, VOLUME, Row, held, place_of, rows
from snapsim.engine.reference_chain import ReferenceChain
from snapsim.engine.steps import REQUESTS, Operation, Step, Steps, carry_out, check, counted
from snapsim.errors import UsageError
from snapsim.units import format_size

__all__ = ["explain_step"]

_FILLS = ("rest", "whole", "none")


def explain_step(
    chain: ReferenceChain,
    operation: Operation,
    *,
    organisation: str,
    fill: str = "rest",
    merge_gap: int = 16384,
) -> Steps:
    """Tell what an operation will do to a chain, step by step.

    Parameters
    ----------
    chain : ReferenceChain
        As it is before; it is not changed.
    operation : Operation
        What will be done.
    organisation : str
        A key of `snapsim.engine.chain.ORGANISATIONS`: how the system keeps the past.
    fill : {"rest", "whole", "none"}
        What happens to the rest of a block that is redirected: as for `snapsim.engine.replay.Replay`.
    merge_gap : int
        As for `snapsim.engine.replay.Replay`.  [bytes]

    Returns
    -------
    Steps
        In the order in which they are done.

    Raises
    ------
    UsageError
        There is no such operation, place, snapshot, organisation or way of filling.

    Examples
    --------
    >>> chain = ReferenceChain(block_size=4096, capacity=8192)
    >>> _ = chain.snapshot()
    >>> explain_step(chain, Operation("write", 0, 4096), organisation="shared-store")
    1. block 0: the old contents v0 are copied from the volume to the store of snapshot 0
    2. block 0: v1 is written in place, to the volume
    = 1 read of 4 KiB, 2 writes of 8 KiB, 1 block copied
    >>> explain_step(chain, Operation("write", 0, 4096), organisation="overlays")
    1. block 0: v1 is written to the active layer; v0 stays where it is
    = 0 reads of 0 B, 1 write of 4 KiB, 0 blocks copied
    """
    check(chain, operation)
    if fill not in _FILLS:
        raise UsageError(f"fill={fill!r} is not one of {', '.join(_FILLS)}")
    teller = _Teller(chain, organisation, fill, merge_gap, rows(chain, organisation))
    if operation.kind in REQUESTS:
        return Steps(teller.request(operation) if operation.length else ())
    return Steps(teller.operation(operation))


@dataclass(frozen=True)
class _Teller:
    """Tells the steps of one operation on one chain."""

    chain: ReferenceChain
    organisation: str
    fill: str
    merge_gap: int
    rows: tuple[Row, ...]

    @property
    def way(self) -> Organisation:
        return ORGANISATIONS[self.organisation]

    @property
    def present(self) -> str:
        return ACTIVE if self.way.copies_layers else VOLUME

    # --- requests
    # -----------------------------------------------------------------------------------------------

    def request(self, operation: Operation) -> Iterator[Step]:
        low, high = operation.offset, operation.offset + operation.length
        if operation.kind == "read":
            yield from self.read(low, high)
        elif operation.kind == "write" or (operation.kind == "write-zeroes" and self.chain.zeroes != "death"):
            yield from self.write(low, high)
        else:
            yield from self.give_up(operation)

    def read(self, low: int, high: int) -> Iterator[Step]:
        layers = [self.present, *(row.name for row in reversed(self.rows[:-1]))]

        def place(block: int) -> tuple[bool, int]:
            depth = self.chain.depth(block) if self.way.copies_layers else 0
            return block in self.chain.now, depth

        for (there, depth), group in groupby(self.overlapped(low, high), key=place):
            blocks, looked = tuple(group), tuple(layers[: depth + 1])
            *above, found = looked
            where = f"the {found} has it" if there else f"the {found} says that nothing is there"
            if not there and not any(block in row.cells for row in self.rows for block in blocks):
                above, where = list(looked), "nothing is there"
            text = "; ".join([*(f"not in the {name}" for name in above), where])
            for block in blocks:
                one = (f"block {block}: {text}", "look", (block,))
                yield Step(*one, looked=looked, lookups=depth + 1)
            if there:
                size = self.inside(blocks, low, high)
                text = f"{_named(blocks)}: {self.labels(blocks)} read from the {found}"
                yield Step(text, "read", blocks, source=found, reads=1, read_bytes=size)
            else:
                yield Step(f"{_named(blocks)}: zeroes are returned, nothing is read", "note", blocks)

    def write(self, low: int, high: int) -> Iterator[Step]:
        if self.way.redirects:
            for moves, group in groupby(self.overlapped(low, high), key=self.moves):
                blocks = tuple(group)
                begin, end = max(low, self.span(blocks[0])[0]), min(high, self.span(blocks[-1])[1])
                yield from self.redirect(blocks, begin, end) if moves else self.over(blocks, begin, end)
            return
        blocks = tuple(self.overlapped(low, high))
        yield from self.preserve(blocks)
        text = f"{_named(blocks)}: {self.next_labels(blocks)} written in place, to the volume"
        yield Step(text, "write", blocks, target=VOLUME, writes=1, written_bytes=high - low)

    def preserve(self, blocks: Iterable[int]) -> Iterator[Step]:
        """Tell what is copied away before contents in place go: once, or once for each private store."""
        for block in filter(self.needed, blocks):
            showing = self.showing(block)
            for one in showing if self.way.private else showing[-1:]:
                store = place_of(one, self.organisation)
                text = f"the old contents {self.labels([block])} are copied from the volume to the {store}"
                yield self.copy(block, text, source=VOLUME, target=store)

    def over(self, blocks: tuple[int, ...], begin: int, end: int) -> Iterator[Step]:
        """Tell of a write over contents that no snapshot shows."""
        text = f"{_named(blocks)}: {self.next_labels(blocks)} written over {self.labels(blocks)}"
        text += f" in the {self.present}, which no snapshot shows"
        yield Step(text, "write", blocks, target=self.present, writes=1, written_bytes=end - begin)

    def redirect(self, blocks: tuple[int, ...], begin: int, end: int) -> Iterator[Step]:
        """Tell of a write to new places, and of what is filled in around it."""
        head, tail = begin - self.span(blocks[0])[0], self.span(blocks[-1])[1] - end
        sides = [(blocks[0], head, "before")] if head and self.needed(blocks[0]) else []
        sides += [(blocks[-1], tail, "behind")] if tail and self.needed(blocks[-1]) else []
        filled = 0
        if self.fill == "whole":
            for block in sorted({block for block, _, _ in sides}):
                source = self.holder(block)
                text = f"{self.labels([block])} is copied whole from the {source} to a free place first"
                yield self.copy(block, text, source=source, target=self.present)
        elif self.fill == "rest" and sides:
            filled = head + tail
            yield from self.fill_in(sides, end - begin)
        old = [block for block in blocks if block in self.chain.now]
        text = f"{_named(blocks)}: {self.next_labels(blocks)} written to "
        free = "a free place" if len(blocks) == 1 else "free places"
        text += "the active layer" if self.way.copies_layers else free
        text += f", with {format_size(filled)} around the new contents" if filled else ""
        if old:
            text += f"; {self.labels(old)} {'stays where it is' if len(old) == 1 else 'stay where they are'}"
        size = end - begin + filled
        yield Step(text, "write", blocks, target=self.present, writes=1, written_bytes=size)

    def fill_in(self, sides: list[tuple[int, int, str]], length: int) -> Iterator[Step]:
        """Tell of the rest that is read from below; both sides at once where little lies between them."""
        sizes = [size for _, size, _ in sides]
        if len(sides) == 2 and length <= self.merge_gap:
            blocks = tuple(sorted({block for block, _, _ in sides}))
            text = f"{_named(blocks)}: the rest on both sides is read from the {self.holder(blocks[0])}"
            text += ", together with what lies between"
            yield Step(
                text, "fill", blocks, source=self.holder(blocks[0]), target=self.present,
                reads=1, read_bytes=sum(sizes) + length, copied_blocks=len(blocks),
            )  # fmt: skip
            return
        done = set[int]()
        for block, size, side in sides:
            source = self.holder(block)
            rest = f"{format_size(size)} {side} the new contents"
            text = f"block {block}: the {rest} are read from the {source}"
            yield Step(
                text, "fill", (block,), source=source, target=self.present,
                reads=1, read_bytes=size, copied_blocks=int(block not in done),
            )  # fmt: skip
            done.add(block)

    def give_up(self, operation: Operation) -> Iterator[Step]:
        """Tell of a discard, or of zeroes that are only noted; what sticks out of whole blocks is written."""
        low, high = operation.offset, operation.offset + operation.length
        after = carry_out(self.chain, operation).now
        blocks = self.overlapped(low, high)
        if operation.kind == "write-zeroes":
            whole = {block for block in blocks if block not in after}
            for inside, group in groupby(blocks, key=lambda block: block in whole):
                part = tuple(group)
                if inside:
                    yield from self.drop(part)
                else:
                    first, last = self.span(part[0])[0], self.span(part[-1])[1]
                    yield from self.write(max(low, first), min(high, last))
            return
        gone = [block for block in blocks if block in self.chain.now and block not in after]
        yield from self.drop(gone)
        changed = tuple(block for block in blocks if after.get(block, None) != self.chain.now.get(block))
        rest = tuple(block for block in changed if block not in gone)
        if rest:
            yield Step(f"{_named(rest)}: the place counts as changed; no data moves", "note", rest)
        if not changed:
            yield Step("no whole block with content is covered: nothing changes", "note", tuple(blocks))

    def drop(self, blocks: Iterable[int]) -> Iterator[Step]:
        """Tell that the volume shows nothing any more in blocks."""
        for block in blocks:
            if block not in self.chain.now:
                yield Step(f"block {block}: nothing is there, and it stays so", "note", (block,))
                continue
            label, showing = self.labels([block]), self.showing(block)
            if not self.way.redirects:
                yield from self.preserve([block])
                text = f"block {block}: the place of {label} in the volume is given back"
                yield Step(text, "free", (block,), source=VOLUME, freed_blocks=1)
            elif not showing:
                text = f"block {block}: {label} is given back"
                yield Step(text, "free", (block,), source=self.present, freed_blocks=1)
            else:
                text = f"block {block}: the volume shows nothing any more; {label} stays for "
                yield Step(text + _snapshots(showing), "note", (block,), target=self.present)

    # --- operations on snapshots
    # --------------------------------------------------------------------------------

    def operation(self, operation: Operation) -> Iterator[Step]:
        if operation.kind == "snapshot":
            yield self.take()
            return
        after = carry_out(self.chain, operation)
        if operation.kind == "delete":
            yield from self.delete(operation)
        elif operation.kind == "revert":
            yield from self.revert(operation.snapshot)
        else:
            yield from self.flatten()
        freed = held(self.chain, self.organisation) - held(after, self.organisation)
        if freed:
            text = f"what nobody shows any more is given back: {counted(freed, 'block')}"
            yield Step(text, "free", freed_blocks=freed)

    def take(self) -> Step:
        """Tell what taking a snapshot does: tables only."""
        taken = self.chain.epoch
        name = place_of(taken, self.organisation)
        texts = {
            "overlays": f"the active layer is frozen as the {name}; an empty one is put on top",
            "shared-tree": f"{name} is a second pointer to all that the volume shows",
            "shared-store": f"snapshot {taken} begins a new part of the store, which is empty",
            "private-stores": f"snapshot {taken} gets a store of its own, which is empty",
        }
        text = f"{texts[self.organisation]}; no data moves"
        if self.way.redirects:
            return Step(text, "rename", source=self.present, target=name)
        return Step(text, "note", target=name)

    def delete(self, operation: Operation) -> Iterator[Step]:
        place = list(self.chain.kept).index(operation.snapshot)
        if self.way.copies_layers:
            lower, upper = self.rows[place], self.rows[place + 1]
            if operation.how == "commit":
                source, target, moving = upper, lower, upper.own()
            else:
                source, target = lower, upper
                moving = {block: one for block, one in lower.own().items() if block not in upper.cells}
            yield from self.move(moving, source.name, target.name)
            text = f"the {target.name} takes the place of both; the {source.name} is deleted"
            yield Step(text, "rename", source=target.name, target=upper.name)
            return
        if not self.way.redirects and not self.way.private and place:
            older = list(self.chain.kept.values())[place - 1]
            passed = [block for block, one in self.rows[place].own().items() if older.get(block) == one]
            if passed:
                name = self.rows[place - 1].name
                text = f"{_named(passed)}: kept in the {name}, which shows the same; no data moves"
                yield Step(text, "note", tuple(passed), source=self.rows[place].name, target=name)
        yield Step(f"snapshot {operation.snapshot} is forgotten", "note")

    def revert(self, snapshot: int) -> Iterator[Step]:
        place = list(self.chain.kept).index(snapshot)
        if not self.way.redirects:
            state = self.chain.kept[snapshot]
            back = {block: one for block, one in state.items() if self.chain.now.get(block) != one}
            for block, version in sorted(back.items()):
                source = next(row.name for row in self.rows[place:-1] if row.cells.get(block) == version)
                text = f"{self.chain.label(version)} is copied back from the {source} to the volume"
                yield self.copy(block, text, source=source, target=VOLUME)
        elif self.way.copies_layers:
            yield Step(f"an empty layer is put on the layer of snapshot {snapshot}; no data moves", "note")
        else:
            yield Step(f"the volume points to what snapshot {snapshot} shows; no data moves", "note")
        newer = list(self.chain.kept)[place + 1 :]
        if newer:
            yield Step(f"{_snapshots(newer)}: deleted with the present", "note")

    def flatten(self) -> Iterator[Step]:
        if self.way.copies_layers:
            active = self.rows[-1].cells
            missing = {block: one for block, one in self.chain.now.items() if block not in active}
            for block, version in sorted(missing.items()):
                source = self.holder(block)
                text = f"{self.chain.label(version)} is copied from the {source} to the active layer"
                yield self.copy(block, text, source=source, target=ACTIVE)
        if self.chain.kept:
            yield Step(f"{_snapshots(list(self.chain.kept))}: deleted; the volume stands alone", "note")

    # --- words and numbers
    # --------------------------------------------------------------------------------------

    def move(self, moving: Iterable[int], source: str, target: str) -> Iterator[Step]:
        row = next(row for row in self.rows if row.name == source)
        for block in sorted(moving):
            version = row.own()[block]
            text = f"{self.chain.label(version)} is copied from the {source} to the {target}"
            yield self.copy(block, text, source=source, target=target)

    def copy(self, block: int, text: str, *, source: str, target: str) -> Step:
        size = self.span(block)[1] - self.span(block)[0]
        return Step(
            f"block {block}: {text}", "copy", (block,), source, target,
            reads=1, writes=1, read_bytes=size, written_bytes=size, copied_blocks=1,
        )  # fmt: skip

    def needed(self, block: int) -> bool:
        """Tell whether the newest snapshot shows what the volume shows."""
        version = self.chain.now.get(block)
        newest = next(reversed(self.chain.kept.values()), None)
        return version is not None and newest is not None and newest.get(block) == version

    def showing(self, block: int) -> list[int]:
        """Return the snapshots that show what the volume shows."""
        version = self.chain.now[block]
        return [one for one, state in self.chain.kept.items() if state.get(block) == version]

    def moves(self, block: int) -> bool:
        """Tell whether new contents go to a new place."""
        return block not in self.chain.now or self.needed(block)

    def holder(self, block: int) -> str:
        """Name the layer that holds what the volume shows; a tree has the volume's own way to it."""
        if not self.way.copies_layers:
            return VOLUME
        version = self.chain.now[block]
        return next(row.name for row in self.rows if row.own().get(block) == version)

    def span(self, block: int) -> tuple[int, int]:
        size = self.chain.block_size
        return block * size, min((block + 1) * size, self.chain.capacity)

    def overlapped(self, low: int, high: int) -> range:
        size = self.chain.block_size
        return range(low // size, (high - 1) // size + 1)

    def inside(self, blocks: tuple[int, ...], low: int, high: int) -> int:
        return min(high, self.span(blocks[-1])[1]) - max(low, self.span(blocks[0])[0])

    def labels(self, blocks: Iterable[int]) -> str:
        return ", ".join(self.chain.label(self.chain.now[block]) for block in blocks)

    def next_labels(self, blocks: tuple[int, ...]) -> str:
        new = ", ".join(f"v{self.chain.writes[block] + 1}" for block in blocks)
        return f"{new} {'is' if len(blocks) == 1 else 'are'}"


def _named(blocks: Iterable[int]) -> str:
    """Name blocks: "block 3", "blocks 3 to 5", "blocks 1, 4"."""
    numbers = list(blocks)
    if len(numbers) == 1:
        return f"block {numbers[0]}"
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"blocks {numbers[0]} to {numbers[-1]}"
    return f"blocks {', '.join(map(str, numbers))}"


def _snapshots(numbers: list[int]) -> str:
    return f"snapshot{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
