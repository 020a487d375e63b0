"""Ticks are counted in integers: at today's nanoseconds floating point loses the last one."""

import pytest

from snapsim.policy.schedule import Schedule
from snapsim.units import HOUR

START = 1_735_689_600 * 10**9  # 2025-01-01T00:00Z


@pytest.mark.parametrize("hours", [1, 24, 8760, 87600])
def test_a_tick_just_before_the_end_is_a_tick(hours):
    ticks = Schedule.of("1h").ticks(START, START + hours * HOUR + 1)
    assert len(ticks) == hours + 1
    assert int(ticks[-1]) == START + hours * HOUR
    assert len(Schedule.of("1h").ticks(START, START + hours * HOUR)) == hours
