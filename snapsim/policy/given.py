"""What a caller may write for a policy, read into the values that it holds.

Each function takes what was given and returns the value, or says in one sentence what to write instead.
"""

import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, TypeVar

from snapsim.errors import PolicyError, UnitError
from snapsim.policy import zones
from snapsim.policy.archive import Archive
from snapsim.policy.buckets import RECORDED, Every
from snapsim.policy.compat import AXES, Tool, tools
from snapsim.policy.retention import UNLIMITED, Rule
from snapsim.policy.schedule import Schedule
from snapsim.policy.tables import (
    ArchiveTable,
    ClassTable,
    EveryTable,
    Expire,
    Grid,
    Guards,
    Keep,
    Limits,
    Protect,
    Select,
    Space,
    Table,
)
from snapsim.policy.taking import ScheduleClass
from snapsim.policy.times import parse_instant
from snapsim.policy.windows import Window
from snapsim.types import SnapshotKind
from snapsim.units import format_duration, parse_duration, parse_size

Count = int | str
"""How many buckets a rule keeps: a whole number, 0 for none, or "unlimited"."""

TABLES: Mapping[str, type[Table]] = {
    "grid": Grid, "expire": Expire, "protect": Protect, "space": Space, "limits": Limits, "guards": Guards,
    "select": Select,
}  # fmt: skip

AnyTable = TypeVar("AnyTable", bound=Table)


def class_tables(given: Mapping[str, Mapping[str, Any]] | Sequence[ClassTable]) -> tuple[ClassTable, ...]:
    """Read classes, by name or as a sequence."""
    if isinstance(given, Mapping):
        named = [
            table_of(ClassTable, {**_mapping(one, name), "name": name}, "class")
            for name, one in given.items()
        ]
    else:
        named = [table_of(ClassTable, one, "class") for one in given]
    for one in named:
        if not one.name:
            raise PolicyError(
                'class without a name: write classes={"hourly": {...}} or [policy.NAME.class.hourly]'
            )
    return tuple(named)


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if isinstance(value, ClassTable):
        return value.model_dump(exclude_unset=True)
    if not isinstance(value, Mapping):
        raise PolicyError(
            f"class {name!r} is {value!r}: give a table with the keys {', '.join(ClassTable.model_fields)}"
        )
    return value


def schedule_of(
    given: Schedule | str | Sequence[str] | None, classes: tuple[ClassTable, ...], timezone: str
) -> Schedule | None:
    """Return the schedule, or that of all classes together."""
    if not classes:
        return None if given is None else Schedule.of(given, timezone=timezone)
    together = [
        one.schedule for one in map(schedule_class, classes, [timezone] * len(classes)) if one.schedule
    ]
    texts = [text for one in together for text in one.texts]
    whole = Schedule.of(texts, timezone=timezone) if texts else None
    if given is not None and given != whole:
        raise PolicyError("schedule and classes are both given: write the schedule into the classes")
    return whole


def schedule_class(one: ClassTable, timezone: str) -> ScheduleClass:
    """Make a class that can be asked when it is due."""
    values = {key: value for key, value in one if key not in {"name", "keep", "soft", "schedule"}}
    schedule = list(one.schedule) if isinstance(one.schedule, tuple) else one.schedule
    return ScheduleClass.of(one.name, schedule, timezone=timezone, **values)


def archive_of(one: ArchiveTable) -> Archive:
    """Make an archive action that can be asked what it wants."""
    return Archive(
        target=one.target,
        command=one.command,
        after_ns=None if one.after is None else parse_duration(one.after),
        before_prune=one.before_prune,
        classes=frozenset(one.classes),
    )


def tool_of(compat: str) -> Tool:
    """Find the tool that `compat` names."""
    known = tools()
    if compat not in known:
        raise PolicyError(
            f"compat is {compat!r}: the tools are {', '.join(name for name in known if name != 'snapsim')}"
        )
    return known[compat]


def timezone_of(tool: Tool, timezone: str | None) -> str:
    """Read the zone in which a policy decides; a tool may impose one."""
    if timezone is None:
        return tool.timezone or "UTC"
    if tool.timezone is not None and timezone != tool.timezone:
        raise PolicyError(
            f"timezone is {timezone!r}, but {tool.title} decides in {tool.timezone!r}: leave one of them out"
        )
    if timezone != RECORDED:
        zones.zone(timezone)
    return timezone


def clock_of(timezone: str) -> str:
    """Return the zone of the schedule."""
    return "UTC" if timezone == RECORDED else timezone


def axis_of(tool: Tool, axis: str, value: str | None) -> str:
    """Read one of the axes; a tool fixes it."""
    usual = tool.axes.get(axis, AXES[axis][0])
    if value is None:
        return usual
    if axis == "reference" and value not in AXES[axis] and str(value)[:1].isdigit():
        parse_instant(value, what="reference")
    elif value not in AXES[axis]:
        raise PolicyError(f"{axis} is {value!r}: give one of {', '.join(AXES[axis])}")
    if tool.name != "snapsim" and value != usual and axis != "week_start":
        raise PolicyError(
            f"{axis} is {value!r}, but compat says {tool.name!r}, and {tool.title} has {usual!r}: "
            f"leave one of them out"
        )
    return value


def table_of(model: type[AnyTable], value: AnyTable | Mapping[str, Any], key: str) -> AnyTable:
    """Read a table: ready, or as a mapping."""
    if isinstance(value, model):
        return value
    if not isinstance(value, Mapping):
        raise PolicyError(f"{key} is {value!r}: give a table with the keys {', '.join(model.model_fields)}")
    return model(**value)


def tag_lists(value: object) -> tuple[tuple[str, ...], ...]:
    """Read lists of tags."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise PolicyError(
            f'keep_tag is {value!r}: give lists of tags, such as [["release"], ["audit", "2026"]]'
        )
    lists = tuple((one,) if isinstance(one, str) else tuple(one) for one in value)
    for one in lists:
        for tag in one:
            if not isinstance(tag, str):
                raise PolicyError(f"keep_tag has {tag!r}: a tag is text")
    return lists


def day_start_of(value: object) -> str:
    """Read a time of day."""
    match = re.fullmatch(r"(\d{2}):(\d{2})", str(value))
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise PolicyError(f'day_start is {value!r}: give a time of day such as "00:00"')
    return str(value)


def duration_of(key: str, value: int | str) -> str:
    """Read a duration, and keep it as text."""
    try:
        return format_duration(parse_duration(value)) if not isinstance(value, str) else _same(value)
    except UnitError as error:
        raise PolicyError(f"{key}: {error}") from None


def _same(text: str) -> str:
    parse_duration(text)
    return text


def long_rule(number: int, keep: Keep, reference: str, tool: Tool) -> Rule:
    """Turn a rule in its long form into a rule."""
    bucket = keep.bucket
    spec = Every(parse_duration(bucket.every), bucket.align) if isinstance(bucket, EveryTable) else bucket
    low, high = keep.age or (0, 0)
    return Rule(
        keep.name or f"rule {number}",
        spec,
        None if keep.count == UNLIMITED else int(keep.count),
        window=Window.of(keep.within) if keep.within else None,
        closed=(keep.edge or tool.edge) == "closed" and keep.within is not None,
        pick=keep.pick or tool.pick,
        keep=None if keep.keep == "all" else int(keep.keep),
        back=keep.back,
        back_in=keep.back_in,
        age_ns=(parse_duration(low), parse_duration(high)) if keep.age else None,
        select=keep.select,
        reference=keep.reference or reference,
    )


def expiry_rule(expire: Expire, tool: Tool) -> Rule:
    """Turn an age and a count into a rule."""
    window = None if expire.ttl is None else Window(str(expire.ttl), 0, parse_duration(expire.ttl))
    edge = expire.edge or (tool.expire.edge if tool.expire else None)
    closed = window is not None and edge != "open"
    return Rule("expire", count=expire.max_count, window=window, closed=closed, reference="now")


def count_of(key: str, count: object) -> Count:
    """Read how many buckets a rule keeps."""
    if count == UNLIMITED:
        return UNLIMITED
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise PolicyError(
            f'{key} is {count!r}: give a whole number, 0 to switch the rule off, or "{UNLIMITED}"'
        )
    if count < 0:
        raise PolicyError(f'{key} is {count}: a count cannot be negative; write "{UNLIMITED}" to keep all')
    return int(count)


def within_of(key: str, value: int | str) -> str:
    """Read a length of time, and keep it as text."""
    try:
        return Window.of(value).text
    except PolicyError as error:
        raise PolicyError(f"{key}: {error}") from None


def kind_of(memory: str) -> SnapshotKind:
    """Read what a snapshot holds."""
    try:
        return SnapshotKind(memory)
    except ValueError:
        kinds = ", ".join(f'"{kind.value}"' for kind in SnapshotKind)
        raise PolicyError(f"memory is {memory!r}: a snapshot holds one of {kinds}") from None


def ram_of(kind: SnapshotKind, ram: int | str | None) -> int:
    """Read how much guest memory a snapshot saves.  [bytes]"""
    try:
        size = 0 if ram is None else parse_size(ram)
    except UnitError as error:
        raise PolicyError(f"ram: {error}") from None
    if kind is SnapshotKind.DISK and size:
        raise PolicyError(
            'ram is given, but disk snapshots save no memory: set memory="memory" or "full", or leave it out'
        )
    if kind is not SnapshotKind.DISK and not size:
        raise PolicyError(
            f'ram is missing: {kind.value} snapshots save the memory of the guest, so give its size ("4GiB")'
        )
    return size
