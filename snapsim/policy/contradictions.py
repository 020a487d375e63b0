"""What a policy may not say at once."""

from typing import TYPE_CHECKING

from snapsim.errors import PolicyError
from snapsim.policy.compat import KEEP_BUCKETS, bucket_length, tools
from snapsim.policy.retention import UNLIMITED
from snapsim.policy.taking import check_classes

if TYPE_CHECKING:
    from snapsim.policy.policy import Policy


def check(policy: "Policy") -> None:
    """Refuse what contradicts itself."""
    _check_classes(policy)
    _ = policy.names
    if policy.plan and tools()[policy.compat].style not in {"plan", "thinner", "per-class", "distance"}:
        raise PolicyError(
            'plan is given, but only compat = "znapzend", "zfs-autobackup", "sanoid" (frequent_period) and '
            '"btrbk" (snapshot_preserve_min) have plans'
        )
    if not any(rule.count != 0 for rule in policy.rules):
        raise PolicyError(
            "policy keeps nothing, so that its first prune would delete every snapshot: "
            'give it a rule such as keep_last=3, keep_daily=7 or keep_within="2d"'
        )
    if policy.combine == "cascade":
        lengths = [bucket_length(rule.bucket) for rule in policy.rules]
        if lengths != sorted(lengths):
            raise PolicyError("combine is 'cascade': its rules have to go from short buckets to long ones")
    if policy.oldest != "never" and policy.combine in {"claim", "cascade"}:
        raise PolicyError(
            f"oldest is {policy.oldest!r}, which has no meaning with combine = {policy.combine!r}: "
            f"leave it out"
        )
    _check_soft(policy)


def _check_classes(policy: "Policy") -> None:
    check_classes(policy.schedule_classes)
    known = {one.name for one in policy.classes}
    for archive in policy.archives:
        for name in sorted(archive.classes - known if known else ()):
            raise PolicyError(
                f"archive.class: there is no class {name!r}: the classes are {', '.join(sorted(known))}"
            )
    if policy.classes and (policy.memory != "disk" or policy.ram):
        raise PolicyError(
            "memory is given, but each class says what it holds: write kind and ram into the classes"
        )


def _check_soft(policy: "Policy") -> None:
    space = policy.space
    soft_classes = [one for one in policy.classes if one.soft is not None]
    starts = space is not None and (space.snapshots_max is not None or space.free_min is not None)
    for one in soft_classes:
        if not starts:
            raise PolicyError(
                f"class {one.name!r}: soft is given, but nothing uses it: add a table space with "
                "snapshots_max or free_min"
            )
        if one.keep != UNLIMITED and one.soft is not None and one.soft > int(one.keep):
            raise PolicyError(
                f"class {one.name!r}: soft is {one.soft}, which is above keep = {one.keep}: lower it"
            )
    if space is not None and starts and not space.soft and not soft_classes:
        raise PolicyError(
            "space: snapshots_max or free_min is given, but nothing may be deleted for it: add soft bounds, "
            "such as soft = { keep_daily = 2 }, or soft to a class"
        )
    for key, low in policy.space.soft if policy.space else ():
        high = getattr(policy, key, None) if key in KEEP_BUCKETS else None
        if high is None:
            known = ", ".join(KEEP_BUCKETS)
            raise PolicyError(f"space.soft.{key} is no counting rule: the keys are {known}")
        if low < 0:
            raise PolicyError(f"space.soft.{key} is {low}: a count cannot be negative")
        if high != UNLIMITED and low > high:
            raise PolicyError(f"space.soft.{key} is {low}, which is above {key} = {high}: lower it")
