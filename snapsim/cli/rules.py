"""A policy on the command line: from a file, a preset, or rules as options."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from snapsim.cli.wording import known, worded
from snapsim.errors import UsageError

if TYPE_CHECKING:
    from snapsim.policy.policy import Policy

__all__ = ["Rules", "from_file", "policy_of"]

_Count = Annotated[int | Literal["unlimited"], Parameter(metavar="N", show_choices=False)]


@Parameter(name="*", group=Group("The policy, unless it comes from a file", sort_key=5))
@dataclass(frozen=True, kw_only=True)
class Rules:
    """A policy, rule by rule.  A snapshot stays as long as one rule keeps it.

    Attributes
    ----------
    schedule : sequence of str
        When snapshots are taken: "15min", "@hourly", "0 */6 * * *"; may be repeated.
    keep_last : int or "unlimited"
        Keep the newest N snapshots.
    keep_hourly : int or "unlimited"
        Keep the newest snapshot of each of the N newest hours that have one.
    keep_daily : int or "unlimited"
        Likewise for days.
    keep_weekly : int or "unlimited"
        Likewise for ISO weeks.
    keep_monthly : int or "unlimited"
        Likewise for months.
    keep_quarterly : int or "unlimited"
        Likewise for quarters.
    keep_yearly : int or "unlimited"
        Likewise for years.
    keep_within : str or None
        Keep whatever is younger than this ("48h", "7d", "1mo").
    timezone : str or None
        IANA name of the zone of the calendar; UTC unless said.
    memory : str or None
        What each snapshot holds: "disk" unless said, "memory" or "full".
    ram : str or None
        Guest memory that each memory or full snapshot saves ("4GiB").
    """

    schedule: Annotated[Sequence[str], Parameter(metavar="WHEN")] = ()
    keep_last: _Count = 0
    keep_hourly: _Count = 0
    keep_daily: _Count = 0
    keep_weekly: _Count = 0
    keep_monthly: _Count = 0
    keep_quarterly: _Count = 0
    keep_yearly: _Count = 0
    keep_within: Annotated[str | None, Parameter(metavar="DURATION")] = None
    timezone: Annotated[str | None, Parameter(metavar="ZONE")] = None
    memory: Annotated[str | None, Parameter(metavar="KIND")] = None
    ram: Annotated[str | None, Parameter(metavar="SIZE")] = None

    def given(self) -> dict[str, Any]:
        """Return what was given, as keywords of `snapsim.Policy`."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, 0, ())}


def policy_of(file: Path | None, name: str | None, rules: Rules) -> "Policy":
    """Return the policy that was asked for.

    Parameters
    ----------
    file : Path or None
        A policy file, or the name of a preset.
    name : str or None
        Which policy of the file.
    rules : Rules
        Instead of a file.

    Returns
    -------
    Policy
        The policy.

    Raises
    ------
    UsageError
        There is neither a file nor a rule, or both.
    PolicyError
        The policy makes no sense.
    """
    given = rules.given()
    if file is not None:
        if given:
            option = next(iter(given)).replace("_", "-")
            raise UsageError(f"--policy and --{option} are both given: write the rule into the policy file")
        return from_file(file, name)
    if name is not None:
        raise UsageError("--policy-name needs --policy: the file that the policy is in")
    if "schedule" not in given:
        raise UsageError(
            "which snapshots are taken and kept? Give --policy FILE, or --schedule with rules, "
            "such as --schedule @hourly --keep-hourly 24"
        )
    from snapsim.policy.policy import Policy

    with worded():
        return Policy(**given)


def from_file(file: Path, name: str | None = None) -> "Policy":
    """Read a policy file, or a preset by its name.

    Parameters
    ----------
    file : Path
        A policy file, or the name of a preset.
    name : str, optional
        Which policy of the file.

    Returns
    -------
    Policy
        The policy.

    Raises
    ------
    PolicyError
        There is none, or it makes no sense.
    """
    from snapsim.policy.policy import Policy
    from snapsim.policy.presets import preset, presets

    if not file.suffix and not file.exists():
        return preset(known("policy", str(file), presets(), instead="the path of a policy file"))
    return Policy.from_toml(file, name=name)
