"""The tables of the policy language: what may be written beside the short forms, and what each key means.

They are the boundary, and values at once: frozen, checked when they are made, the same in TOML and in Python.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from snapsim.errors import PolicyError, UnitError
from snapsim.policy.windows import Window
from snapsim.types import SnapshotKind
from snapsim.units import parse_duration

COUNT = 'a whole number, 0 for none, or "unlimited"'
Count = Annotated[int, Field(ge=0)] | Literal["unlimited"]


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list | set | frozenset) else value


def _texts(value: object) -> object:
    return (value,) if isinstance(value, str) else _tuple(value)


def _duration(value: object) -> object:
    if isinstance(value, str | int) and not isinstance(value, bool):
        try:
            parse_duration(value)
        except UnitError as error:
            raise PolicyError(str(error)) from None
    return value


def _window(value: object) -> object:
    return Window.of(value).text if isinstance(value, str | int) and not isinstance(value, bool) else value


def _attributes(value: object) -> object:
    pairs = sorted(value.items()) if isinstance(value, Mapping) else value
    return tuple((key, _tuple(one)) for key, one in pairs) if isinstance(pairs, list | tuple) else pairs


_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), WithJsonSchema(_TEXTS)]
Duration = Annotated[str | int, BeforeValidator(_duration)]
WindowText = Annotated[str, BeforeValidator(_window)]


class Table(BaseModel):
    """A table of the language: unknown keys are errors that name the nearest one."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, populate_by_name=True, use_attribute_docstrings=False
    )
    TITLE: ClassVar[str] = "table"

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            path, message = told(error, type(self))
            raise PolicyError(f"{self.TITLE}{'.' + path if path else ''}: {message}") from None

    # So that a table inside a table is checked in place, and the message says where it stands.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


class Select(Table):
    """Which snapshots a rule is about; every key that is given has to match."""

    TITLE = "select"

    classes: Annotated[Texts | None, Field(alias="class", description="a class, or a list of them: any")] = (
        None
    )
    tags: Annotated[
        Texts | None, Field(description="tags: all of them; an empty list is a snapshot without tags")
    ] = None
    name: Annotated[str | None, Field(description="a regular expression that is found in the name")] = None
    kinds: Annotated[
        Annotated[
            tuple[Literal["disk", "memory", "full"], ...], BeforeValidator(_texts), WithJsonSchema(_TEXTS)
        ]
        | None,
        Field(alias="kind", description='"disk", "memory" or "full", or a list of them: any'),
    ] = None
    important: Annotated[bool | None, Field(description="true or false")] = None
    attributes: Annotated[
        tuple[tuple[str, str | int | bool | tuple[str, ...]], ...],
        BeforeValidator(_attributes),
        WithJsonSchema({"type": "object"}),
        Field(description='what its system says about it, such as { cleanup = "timeline" }; of a list: any'),
    ] = ()
    exclude: Annotated[bool, Field(description="true to take the snapshots that do not match")] = False

    @model_validator(mode="after")
    def _check(self) -> "Select":
        if self.name is not None:
            try:
                re.compile(self.name)
            except re.error as error:
                raise PolicyError(f"name {self.name!r} is no regular expression: {error}") from None
        return self

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return self.exclude or self.model_dump(exclude_defaults=True) != {}


class EveryTable(Table):
    """Buckets of one fixed length."""

    TITLE = "bucket"

    every: Annotated[Duration, Field(description='a duration such as "3d"')]
    align: Annotated[
        Literal["epoch", "wall", "reference"], Field(description='"epoch", "wall" or "reference"')
    ] = "epoch"


BucketName = Literal[
    "each", "all", "second", "minute", "hour", "day", "week", "month", "week13", "quarter", "year"
]


class Keep(Table):
    """A rule in its long form: everything inside it has to hold; a snapshot stays if a rule keeps it."""

    TITLE = "keep"

    name: Annotated[str, Field(description="what the reasons call it")] = ""
    select: Annotated[Select, Field(description="which snapshots it is about")] = Select()
    bucket: Annotated[
        BucketName | EveryTable,
        Field(description='"each", "all", "hour", "day", "week", ..., or { every = "3d", align = "epoch" }'),
    ] = "each"
    pick: Annotated[
        Literal["newest", "oldest"] | None, Field(description='"newest" or "oldest" of a bucket')
    ] = None
    keep: Annotated[
        Annotated[int, Field(ge=1)] | Literal["all"], Field(description='how many of a bucket, or "all"')
    ] = 1
    count: Annotated[Count, Field(description=COUNT)] = "unlimited"
    within: Annotated[WindowText | None, Field(description='a length of time such as "60d" or "1mo"')] = None
    edge: Annotated[
        Literal["open", "closed"] | None, Field(description='"open" or "closed": is its very edge inside?')
    ] = None
    back: Annotated[
        Annotated[int, Field(ge=0)] | None,
        Field(description="how many buckets back from that of now, empty ones included"),
    ] = None
    back_in: Annotated[
        BucketName | None, Field(description="the buckets in which back counts, if not those of the rule")
    ] = None
    age: Annotated[
        Annotated[tuple[Duration, Duration], BeforeValidator(_tuple)] | None,
        Field(description='two durations, such as ["12h", "36h"]: at least the first, less than the second'),
    ] = None
    reference: Annotated[
        Literal["now", "newest", "newest_not_future", "newest_complete"] | None,
        Field(description="from where ages and windows count, if not as in the policy"),
    ] = None

    @model_validator(mode="after")
    def _check(self) -> "Keep":
        if self.age is not None:
            low, high = (parse_duration(edge) for edge in self.age)
            if low >= high:
                raise PolicyError(
                    f"age {list(self.age)} holds nothing: the first has to be less than the second"
                )
            if self.within is not None:
                raise PolicyError("age and within are both given: write one of them")
        if self.edge is not None and self.within is None:
            raise PolicyError("edge is given, but within is not: leave edge out")
        if self.back_in is not None and self.back is None:
            raise PolicyError("back_in is given, but back is not: leave back_in out")
        counted = self.back_in or self.bucket
        if self.back is not None and (counted in {"each", "all"} or isinstance(counted, EveryTable)):
            raise PolicyError(
                'back counts calendar buckets: set bucket or back_in to "hour", "day", "week", ...'
            )
        return self


class Grid(Table):
    """Rules by age, coarser with every step: 1x1h(keep=all) | 24x1h | 35x1d."""

    TITLE = "grid"

    spec: Annotated[str, Field(description='text such as "1x1h(keep=all) | 24x1h | 35x1d"')]
    anchor: Annotated[Literal["newest", "now"], Field(description='"newest" or "now"')] = "newest"
    pick: Annotated[Literal["newest", "oldest"], Field(description='"newest" or "oldest"')] = "oldest"
    select: Annotated[Select, Field(description="which snapshots it is about")] = Select()


class Expire(Table):
    """Snapshots that are older than a fixed age go."""

    TITLE = "expire"

    ttl: Annotated[Duration | None, Field(description='a duration such as "720h"')] = None
    max_count: Annotated[Annotated[int, Field(ge=1)] | None, Field(description="how many stay at most")] = (
        None
    )
    edge: Annotated[
        Literal["open", "closed"] | None,
        Field(description='"open" or "closed": does one that is exactly as old stay?'),
    ] = None

    @model_validator(mode="after")
    def _check(self) -> "Expire":
        if self.ttl is None and self.max_count is None:
            raise PolicyError("neither ttl nor max_count is given: give one of them, or leave the table out")
        return self


class Protect(Table):
    """What is never deleted, whatever the rules say."""

    TITLE = "protect"

    tags: Annotated[Texts, Field(description="tags, each of which protects")] = ()
    important: Annotated[bool, Field(description="those marked as important")] = False
    in_use: Annotated[bool, Field(description="those in use, or pinned in their own system")] = True
    newest: Annotated[int, Field(ge=0, description="how many of the newest")] = 0
    just_taken: Annotated[bool, Field(description="those of the very second of the decision")] = False
    last_of_class: Annotated[bool, Field(description="the last one of each class")] = False
    pairs: Annotated[bool, Field(description="one half of a pair as long as the other stays")] = True
    incremental_base: Annotated[bool, Field(description="what the next increment builds on")] = True
    not_replicated: Annotated[bool, Field(description="those that have not been replicated yet")] = False
    incomplete_newest: Annotated[
        bool, Field(description="an unfinished one that is newer than all others; other unfinished ones go")
    ] = False
    incomplete_count: Annotated[
        int, Field(ge=1, description="how many unfinished ones that nothing finished is newer than")
    ] = 1
    incomplete_within: Annotated[
        Duration | None, Field(description="and those of them that are less older than the newest one")
    ] = None
    protected_counts: Annotated[bool, Field(description="whether they use up counts and fill buckets")] = (
        False
    )


class Space(Table):
    """Rules about space: they act on what the other rules would keep or delete."""

    TITLE = "space"

    prune_defer_below: Annotated[
        float | None, Field(ge=0, le=1, description="share of the pool in use below which nothing is deleted")
    ] = None
    soft: Annotated[
        tuple[tuple[str, int], ...],
        BeforeValidator(
            lambda value: tuple(sorted(value.items())) if isinstance(value, Mapping) else _tuple(value)
        ),
        WithJsonSchema({"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}),
        Field(description="lower bounds of counts, such as { keep_daily = 2 }: down to there space decides"),
    ] = ()
    snapshots_max: Annotated[
        float | None, Field(gt=0, le=1, description="largest share of the pool that snapshots may use")
    ] = None
    free_min: Annotated[
        float | None,
        Field(gt=0, lt=1, description="share of the pool below which free space starts deletion"),
    ] = None
    target_free: Annotated[
        float | None, Field(gt=0, lt=1, description="share of the pool up to which deletion goes on")
    ] = None
    delete_order: Annotated[
        Literal["oldest", "largest_exclusive"], Field(description='"oldest" or "largest_exclusive"')
    ] = "oldest"

    @model_validator(mode="after")
    def _check(self) -> "Space":
        if self.target_free is not None and (self.free_min is None or self.target_free < self.free_min):
            raise PolicyError("target_free has to be at least free_min, which starts the deletion: give both")
        if self.soft and self.snapshots_max is None and self.free_min is None:
            raise PolicyError("soft bounds are given, but nothing uses them: add snapshots_max or free_min")
        return self


class Limits(Table):
    """How long a chain may become: what vendors advise, and what a system can hold."""

    TITLE = "limits"

    chain_max: Annotated[Annotated[int, Field(ge=1)] | None, Field(description="snapshots at most")] = None
    chain_hard: Annotated[
        Annotated[int, Field(ge=1)] | None, Field(description="snapshots that the system cannot exceed")
    ] = None
    snapshots_hard: Annotated[
        Annotated[int, Field(ge=1)] | None, Field(description="the same, by another name of the field")
    ] = None
    max_age: Annotated[Duration | None, Field(description='a duration such as "72h"')] = None
    on_violation: Annotated[
        Literal["warn", "merge_oldest"], Field(description='"warn", or "merge_oldest" to delete the oldest')
    ] = "warn"

    @model_validator(mode="after")
    def _check(self) -> "Limits":
        if self.chain_max is not None and self.hard is not None and self.chain_max > self.hard:
            raise PolicyError(f"chain_max {self.chain_max} is above the hard limit of {self.hard}: lower it")
        return self

    @property
    def hard(self) -> int | None:
        """The lower one of the hard limits."""
        given = [limit for limit in (self.chain_hard, self.snapshots_hard) if limit is not None]
        return min(given) if given else None


class Guards(Table):
    """Protection from mistakes: where one trips, a run deletes nothing and says so."""

    TITLE = "guards"

    refuse_empty_policy: Annotated[bool, Field(description="refuse a policy that keeps nothing")] = True
    refuse_delete_all: Annotated[bool, Field(description="never delete every snapshot of a group")] = True
    max_delete_fraction: Annotated[
        float | None, Field(gt=0, le=1, description="largest share of a group that one run may delete")
    ] = None
    require_dry_run_hash: Annotated[
        bool, Field(description="apply only what a dry run has shown, known by its fingerprint")
    ] = False


class ClassTable(Table):
    """A class of snapshots: when it is taken, what it holds, and how many of it stay."""

    TITLE = "class"

    name: Annotated[str, Field(description="letters, digits, '.' and '-'")] = ""
    schedule: Annotated[
        str | tuple[str, ...] | None,
        BeforeValidator(_tuple),
        Field(
            description='text such as "@hourly" or "0 */6 * * *", or a list; without one it is taken by hand'
        ),
    ] = None
    keep: Annotated[Count, Field(description=f"how many of its newest stay: {COUNT}")] = 0
    soft: Annotated[
        Annotated[int, Field(ge=0)] | None,
        Field(description="lower bound of keep: down to there rules about space decide"),
    ] = None
    kind: Annotated[Literal["disk", "memory", "full"], Field(description='"disk", "memory" or "full"')] = (
        "disk"
    )
    consistency: Annotated[Literal["crash", "quiesced"], Field(description='"crash" or "quiesced"')] = "crash"
    ram: Annotated[int | str, Field(description='bytes, or text such as "4GiB"')] = 0
    jitter: Annotated[Duration, Field(description='largest delay, such as "5min"')] = 0
    catch_up: Annotated[Literal["none", "once", "all"], Field(description='"none", "once" or "all"')] = "once"
    grace: Annotated[Duration, Field(description='how late is not yet missed, such as "10min"')] = 0
    overlap: Annotated[Literal["skip", "queue"], Field(description='"skip" or "queue"')] = "skip"
    on_change: Annotated[bool, Field(description="true to leave it out if nothing was written")] = False
    min_written: Annotated[int | str, Field(description='fewest bytes worth a snapshot, such as "1MiB"')] = 0
    quiet: Annotated[
        Duration, Field(description='how much later a quieter moment may be, such as "30min"')
    ] = 0
    events: Annotated[Texts, Field(description='names of events, such as ["upgrade"]')] = ()


class ArchiveTable(Table):
    """Where snapshots are copied to before they go."""

    TITLE = "archive"

    target: Annotated[str, Field(description="the name of the cheaper storage")]
    command: Annotated[
        Texts, Field(description='program and arguments, such as ["send", "{vm}@{name}", "{target}"]')
    ] = ()
    after: Annotated[Duration | None, Field(description='an age such as "30d"')] = None
    before_prune: Annotated[bool, Field(description="whether what is to be deleted is archived first")] = True
    classes: Annotated[
        Texts, Field(alias="class", description="a class, or a list of them; all if left out")
    ] = ()


def told(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """Say the first thing that is wrong with a table.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    model : type of BaseModel
        The outermost table.

    Returns
    -------
    str, str
        The path of the key with dots, and the message.
    """
    # a key that nobody knows explains why another one is missing
    every = error.errors(include_url=False)
    first = min(every, key=lambda one: one["type"] != "extra_forbidden")
    path, inner, field = _walk(first["loc"], model)
    where = ".".join(path)
    key = path[-1] if path else ""
    if first["type"] == "extra_forbidden":
        names = keys_of(inner)
        near = difflib.get_close_matches(key, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(names)}"
        return where, f"unknown key {key!r}: {hint}"
    if first["type"] == "value_error":
        return where, f"{key + ': ' if key else ''}{first['ctx']['error']}"
    wanted = field or "something else"
    if first["type"] == "missing":
        return ".".join(path[:-1]), f"{key} is missing: give {wanted}"
    if first["type"] in {"greater_than_equal", "less_than_equal", "greater_than", "less_than"}:
        return (
            where,
            f"{key} is {first['input']!r}, which is out of range ({first['msg'].lower()}): give {wanted}",
        )
    return where, f"{key} is {first['input']!r}: give {wanted}"


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys of a table as they are written in TOML."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _walk(
    loc: tuple[int | str, ...], model: type[BaseModel]
) -> tuple[list[str], type[BaseModel], str | None]:
    """Follow a location through tables in tables; parts that are no keys (union members) are left out."""
    path: list[str] = []
    description: str | None = None
    inner: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int):
            if path:
                path[-1] += f"[{part + 1}]"
            continue
        if inner is None:
            continue
        names = {field.alias or name: name for name, field in inner.model_fields.items()}
        name = names.get(part, part)
        if name in inner.model_fields:
            path.append(part)
            description = inner.model_fields[name].description
            nested = _table_in(inner.model_fields[name].annotation)
            if nested is not None:
                model, inner = nested, nested
            else:
                model, inner = inner, None
        elif part in {table.__name__ for table in Table.__subclasses__()}:
            continue  # the name of a union's member
        else:
            path.append(part)
    return path, model, description


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """Return the table that a field may hold, if it may."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _table_in(part)
        if found is not None:
            return found
    return None


__all__ = [
    "COUNT",
    "ArchiveTable",
    "BucketName",
    "ClassTable",
    "Count",
    "EveryTable",
    "Expire",
    "Grid",
    "Guards",
    "Keep",
    "Limits",
    "Protect",
    "Select",
    "SnapshotKind",
    "Space",
    "Table",
    "keys_of",
    "told",
]
