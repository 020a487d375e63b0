"""`snapsim restore-time`: what restoring each kept snapshot would move, and how long it would take."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from snapsim.cli.app import group as new_group
from snapsim.cli.device import find as find_device
from snapsim.cli.happening import Happening, clock_of
from snapsim.cli.output import check_writable, print_json, write_csv
from snapsim.cli.progress import bar
from snapsim.cli.reading import File, Json, Reading
from snapsim.cli.rules import Rules, policy_of
from snapsim.cli.simulate import check_every, check_initial, system_of, volumes_of
from snapsim.cli.wording import worded
from snapsim.errors import UsageError

if TYPE_CHECKING:
    from snapsim.planning.boot_order import BootOrders
    from snapsim.planning.restore import Restores
    from snapsim.traces.trace import Trace

__all__ = ["app", "check_figure", "check_size", "restore_time"]

app = new_group(
    "restore-time", "Say what restoring each kept snapshot would move, and how long it would take."
)

_STARTS = ("thick", "thin")
_INITIAL_HELP = (
    "What existed before the trace: thick (the whole volume), thin (nothing), or the file that qemu-img map "
    "--output=json wrote."
)
_OUTPUT = Group("Output", sort_key=20)


@Parameter(name="*", group=Group("The restore", sort_key=6))
@dataclass(frozen=True, kw_only=True)
class Way:
    """How it is restored.

    Attributes
    ----------
    device : str
        Where snapshots lie: see snapsim device list; or a device file of your own.
    target : str or None
        Where the volume is restored to; the same disk unless said.
    network : str or None
        What the way between them lets through in a second ("125MiB").
    at : str or None
        When the restore begins: a point in time, or a duration since the trace's start ("90min"); at the end
        unless said.
    base : str or None
        Restore incrementally over a copy of the snapshot kept from then, instead of over what the volume
        shows.
    part : str
        The share of the volume that a partial restore brings back: what was read most.
    extent : sequence of str
        Let a partial restore bring back these bytes instead: FIRST+LENGTH ("1GiB+64MiB"); may be repeated.
    chunk : str
        What is read in one go, at most.
    streams : int
        Chunks under way at a time.
    """

    device: Annotated[str, Parameter(metavar="NAME")] = "nvme"
    target: Annotated[str | None, Parameter(metavar="NAME")] = None
    network: Annotated[str | None, Parameter(metavar="SIZE")] = None
    at: Annotated[str | None, Parameter(metavar="TIME")] = None
    base: Annotated[str | None, Parameter(metavar="TIME")] = None
    part: Annotated[str, Parameter(metavar="PERCENT")] = "10%"
    extent: Annotated[Sequence[str], Parameter(metavar="FIRST+LENGTH")] = ()
    chunk: Annotated[str, Parameter(metavar="SIZE")] = "1MiB"
    streams: int = 8


@Parameter(name="*", group=Group("A guest that starts before all is restored", sort_key=7))
@dataclass(frozen=True, kw_only=True)
class Boot:
    """A guest on a volume that is still being restored.

    Attributes
    ----------
    boot : bool
        Compare the orders in which blocks can come: by address, most read first, first needed first.
    after : str or None
        When the guest starts: a point in time, or a duration since the trace's start.
    window : str
        How long it is followed.
    learn_after : str or None
        Learn the order from the reads from then on, instead of from those that are served.
    reads : int
        The guest counts as started when so many reads were served.
    rate : str or None
        At which blocks come in the background in a second ("20MiB"); as fast as the device unless said.
    fetch_size : str
        What is fetched at a time.
    """

    boot: bool = False
    after: Annotated[str | None, Parameter(metavar="TIME")] = None
    window: Annotated[str, Parameter(metavar="DURATION")] = "10min"
    learn_after: Annotated[str | None, Parameter(metavar="TIME")] = None
    reads: int = 1000
    rate: Annotated[str | None, Parameter(metavar="SIZE")] = None
    fetch_size: Annotated[str, Parameter(metavar="SIZE")] = "512KiB"


@app.default
def restore_time(
    trace: File,
    *,
    policy: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    policy_name: Annotated[str | None, Parameter(metavar="NAME")] = None,
    rules: Rules = Rules(),  # noqa: B008  frozen
    happening: Happening = Happening(),  # noqa: B008  frozen
    mechanism: Annotated[str, Parameter(metavar="NAME")] = "qcow2-external",
    option: Annotated[Sequence[str], Parameter(metavar="NAME=VALUE")] = (),
    block_size: Annotated[str | None, Parameter(metavar="SIZE")] = None,
    every: Annotated[str | None, Parameter(metavar="DURATION")] = None,
    initial: Annotated[str, Parameter(metavar="WHAT", help=_INITIAL_HELP)] = "thick",
    way: Way = Way(),
    boot: Boot = Boot(),
    reading: Reading = Reading(),  # noqa: B008  frozen
    figure: Annotated[Path | None, Parameter(metavar="FILE.svg", group=_OUTPUT)] = None,
    csv: Annotated[Path | None, Parameter(metavar="FILE.csv", group=_OUTPUT)] = None,
    as_json: Annotated[Json, Parameter(group=_OUTPUT)] = False,
) -> None:
    """Say what restoring each kept snapshot would move, and how long it would take on a device.

    Each snapshot is restored in whole, in part, incrementally over what is there, and, where the system can,
    by going back in place.  With --boot a guest starts at once, while its volume is still being restored.

    Parameters
    ----------
    trace : Path
        One volume.
    policy : Path, optional
        A policy file (TOML), or the name of a preset.
    policy_name : str, optional
        Which policy of the file, where there are several.
    rules : Rules
        The policy, if there is no file.
    happening : Happening
        What the policy acts on beside its clock.
    mechanism : str
        How the system keeps snapshots: see snapsim mechanisms; or a mechanism file of your own.
    option : sequence of str
        An option of the mechanism as name=value (refcount_bits=16); may be repeated.
    block_size : str, optional
        The mechanism's block size ("64KiB"), instead of its default.
    every : str, optional
        Instants at the multiples of this interval ("5min"), instead of at the ticks of the schedule only.
    initial : str
        What existed before the trace.
    way : Way
        How it is restored.
    boot : Boot
        A guest that starts before all is restored.
    reading : Reading
        How to read the trace.
    figure : Path, optional
        Draw how long restores take (with --boot: the orders) into a file that ends in .svg, .png or .pdf.
    csv : Path, optional
        Write a row for each snapshot and way (with --boot: for each order and moment).
    as_json : bool
        Print JSON.
    """
    chosen = policy_of(policy, policy_name, rules)
    system = system_of(mechanism, option, block_size)
    check_initial(initial, _STARTS)
    check_every(every)
    acts_on, clock = happening.keywords(), clock_of(chosen, every)
    part = _part(way)
    for option_name, size in (("network", way.network), ("chunk", way.chunk), ("rate", boot.rate)):
        check_size(size, f"--{option_name}")
    check_size(boot.fetch_size, "--fetch-size")
    check_every(boot.window, "--window")
    for option_name, number in (("streams", way.streams), ("reads", boot.reads)):
        if number < 1:
            raise UsageError(f"--{option_name} must be at least 1, but is {number}")
    for device_name in (way.device, way.target):
        if device_name is not None:
            find_device(device_name)
    for output in (figure, csv):
        check_writable(output)
    check_figure(figure)

    volume = next(iter(volumes_of([trace], reading, group=False).values()))
    with bar("restoring", unit="requests") as progress, worded():
        from snapsim.planning.lifetimes import count_lifetimes
        from snapsim.planning.restore import restore_times
        from snapsim.planning.running import run_policy

        counted = count_lifetimes(
            volume, **clock, block_size=system.block_size, initial=initial, progress=progress
        )
        timeline = run_policy(chosen, counted, mechanism=system, **acts_on)
        answer = restore_times(
            volume, timeline, system, way.device, target=way.target, network=way.network, initial=initial,
            at=way.at, base=way.base, part=part, chunk=way.chunk, streams=way.streams, progress=progress,
        )  # fmt: skip
        orders = _orders(volume, way.device, boot, initial) if boot.boot else None
    files = _write(answer, orders, figure=figure, csv=csv)
    if as_json:
        print_json({**answer.summary(), "boot": None if orders is None else orders.summary(), "files": files})
        return
    print(answer.text())
    if orders is not None:
        print(f"\n{orders.text()}")
    for kind, path in files.items():
        print(f"  {kind:<18}  {path}")


def check_size(text: str | None, option: str) -> None:
    """Refuse what is no size.

    Parameters
    ----------
    text : str or None
        As typed; None is fine.
    option : str
        Its name, for the message.

    Raises
    ------
    UsageError
        It cannot be read, or is zero.
    """
    from snapsim.units import parse_size

    try:
        size = None if text is None else parse_size(text)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None
    if size == 0:
        raise UsageError(f"{option}: a size cannot be zero")


def check_figure(path: Path | None) -> None:
    """Refuse a file name that no figure can have.

    Parameters
    ----------
    path : Path or None
        As typed; None is fine.

    Raises
    ------
    UsageError
        It ends in something else than .svg, .png or .pdf.
    """
    if path is not None and path.suffix.lower() not in {".svg", ".png", ".pdf"}:
        raise UsageError(f"--figure {path}: name a file that ends in .svg, .png or .pdf")


def _part(way: Way) -> str | list[tuple[int, int]]:
    from snapsim.units import parse_size

    extents = []
    for text in way.extent:
        first, sign, length = text.partition("+")
        try:
            extents.append((parse_size(first), parse_size(length)))
        except UsageError:
            sign = ""
        if not sign:
            raise UsageError(f"--extent {text!r}: write FIRST+LENGTH, such as 1GiB+64MiB")
    return extents or way.part


def _orders(volume: "Trace", device: str, boot: Boot, initial: str) -> "BootOrders":
    from snapsim.planning.boot_order import boot_orders

    return boot_orders(
        volume, device, after=boot.after, window=boot.window, learn_after=boot.learn_after, reads=boot.reads,
        rate=boot.rate, initial=initial, block_size=boot.fetch_size,
    )  # fmt: skip


def _write(
    answer: "Restores", orders: "BootOrders | None", *, figure: Path | None, csv: Path | None
) -> dict[str, Path]:
    files = {}
    if csv is not None:
        write_csv(answer.frame if orders is None else orders.progress, csv)
        files["csv"] = csv
    if figure is not None:
        from snapsim.viz.restore import boot_progress, restore_durations

        drawn = restore_durations(answer) if orders is None else boot_progress(orders)
        files["figure"] = drawn.save(figure)
    return files
