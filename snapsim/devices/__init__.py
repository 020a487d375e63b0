"""How long storage devices take, as data: one TOML file for each, checked when it is read."""

import sys
from types import ModuleType

from snapsim.devices.loader import device, device_toml, devices, parse_device
from snapsim.devices.model import Device, ServiceParameters
from snapsim.devices.parts import Access, Cold, Evidence, Mechanics

__all__ = [
    "Access",
    "Cold",
    "Device",
    "Evidence",
    "Mechanics",
    "ServiceParameters",
    "device",
    "device_toml",
    "devices",
    "parse_device",
]


class _Package(ModuleType):
    """Importing a package binds it to its name in `snapsim`, where people call `snapsim.devices()`."""

    def __call__(self) -> tuple[str, ...]:
        return devices()


sys.modules[__name__].__class__ = _Package
