"""What Velero's garbage collection leaves, restated."""

import re
from collections.abc import Mapping, Sequence

from snapsim.types import Snapshot

UNIT_NS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000}
DEFAULT_TTL_NS = 720 * UNIT_NS["h"]


def kept(
    snapshots: Sequence[Snapshot], settings: Mapping[str, object], *, now_ns: int, timezone: str
) -> set[int]:
    """Return the indices that stay.

    Setting: ttl ("720h0m0s"; nothing or 0 is 30 days).  The expiration is stamped on a backup when it
    starts, so the attribute `expires_ns` wins over a ttl that was changed since.
    """
    ttl_ns = duration(settings.get("ttl") or "0s") or DEFAULT_TTL_NS
    return {
        i
        for i, snapshot in enumerate(snapshots)
        if snapshot.attributes.get("expires_ns", snapshot.time_ns + ttl_ns) > now_ns
    }


def duration(text: str) -> int:
    """Return a duration such as "720h0m0s" in nanoseconds."""
    return sum(int(number) * UNIT_NS[unit] for number, unit in re.findall(r"(\d+)([hms])", text))
