"""Every error that snapsim raises on purpose.

::

    SnapsimError
    ├── UsageError              the caller asked for something that makes no sense      (exit status 2)
    │   ├── UnitError           a size or a duration that cannot be read
    │   ├── PolicyError         a policy that is empty, contradictory or unsafe
    │   ├── MechanismError      an unknown mechanism, or one used outside its limits
    │   ├── DeviceError         an unknown device, or a device file that says what cannot be
    │   └── VolumeSelectionError  several volumes where one is needed
    ├── TraceError              a trace that cannot be used                             (exit status 3)
    │   ├── UnknownFormatError  no reader recognises the file, or several do
    │   ├── RefusedFileError    the file is known not to be usable (and the message says why)
    │   └── DamagedTraceError   more damaged lines than the limit allows
    ├── StoreError              a stored trace that is missing, foreign or incomplete   (exit status 3)
    ├── MeasurementError        a device could not be measured                          (exit status 1)
    ├── RecordingError          a recording could not be made, or had to end            (exit status 1)
    ├── DownloadError           a public trace could not be fetched, or is another    (exit status 1)
    └── CapacityError           a result would not fit into memory                      (exit status 4)

Each message is one sentence or two: what is wrong, where (file, line, field), what to do about it.
The command line prints the message and leaves with `exit_status`; it shows no traceback for one of these.
"""


class SnapsimError(Exception):
    """Base of every error that snapsim raises on purpose.

    Attributes
    ----------
    exit_status : int
        What the command line returns to the shell.
    """

    exit_status = 1


class UsageError(SnapsimError, ValueError):
    """The caller asked for something that makes no sense."""

    exit_status = 2


class UnitError(UsageError):
    """A size or a duration that cannot be read."""


class PolicyError(UsageError):
    """A policy that is empty, contradictory or unsafe, or instants that do not fit it."""


class MechanismError(UsageError):
    """An unknown mechanism, or one used outside what it supports."""


class DeviceError(UsageError):
    """An unknown storage device, or a device file that says what a device cannot be."""


class VolumeSelectionError(UsageError):
    """Several volumes where the question needs one."""


class TraceError(SnapsimError):
    """A trace that cannot be used."""

    exit_status = 3


class UnknownFormatError(TraceError):
    """No reader recognises the file, or more than one does."""


class RefusedFileError(TraceError):
    """The file is recognised as something that cannot be used, and the message says as what."""


class DamagedTraceError(TraceError):
    """More damaged lines than the limit allows."""


class StoreError(SnapsimError):
    """A stored trace that is missing, foreign or incomplete."""

    exit_status = 3


class MeasurementError(SnapsimError):
    """A device that could not be measured: the program that measures is missing, or it failed."""


class RecordingError(SnapsimError):
    """A recording that could not be made, or had to end: the message says what is kept of it."""


class DownloadError(SnapsimError):
    """A public trace that could not be fetched, or that is not what it should be."""


class CapacityError(SnapsimError):
    """A result that would not fit into the memory that it may use."""

    exit_status = 4
