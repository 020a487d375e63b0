"""What the tests of presets share: random histories, and decisions as a set of indices."""

from dataclasses import replace

from snapsim.policy import Policy
from tests.differential.random_cases import DAY, HOUR, SECOND, times

FAR = 4_102_444_800 * SECOND  # 2100-01-01


def kept(policy, snapshots, now_ns):
    """Return the indices of the snapshots that a policy keeps."""
    return {index for index, one in enumerate(policy.decide(snapshots, now_ns)) if one.keep}


def say(tool, settings, **more):
    """Return a policy that says what a tool's settings say."""
    return Policy(compat=tool, **settings, **more)


def moment(chance, instants):
    """Return a time to decide at: mostly after all snapshots, sometimes before some of them."""
    last = max(instants, default=0)
    return last + chance.choice((1, SECOND, HOUR, DAY, 40 * DAY, -3 * DAY, -40 * DAY)) + 1


def with_attributes(chance, snapshots, **shares):
    """Return snapshots of which a share each has an attribute."""
    return [
        replace(one, attributes={**one.attributes, **{key: True for key, share in shares.items()
                                                      if chance.random() < share}})
        for one in snapshots
    ]  # fmt: skip


__all__ = ["FAR", "kept", "moment", "say", "times", "with_attributes"]
