"""What the users of a file server do to their files.  Prints a line that begins with "summary:".

Documents are text that compresses well, pictures bytes that do not, tables something between.  Editors save
by writing a new file and renaming it over the old one, or change a few pages in place; people copy files and
whole folders, so that the disk holds the same contents more than once.
"""

import argparse
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

# Share of the best hour's rate in each hour of the day, in percent.
WORKDAY = (2, 1, 1, 1, 1, 2, 6, 25, 70, 95, 100, 95, 60, 85, 100, 95, 80, 50, 20, 10, 8, 6, 4, 3)
WEEKEND = (2, 1, 1, 1, 1, 1, 2, 3, 5, 8, 10, 10, 8, 8, 8, 8, 7, 6, 5, 5, 4, 4, 3, 2)
TEXT = """
the of and to in is for with as on at by this be are from that it was not report budget offer
contract minutes planning project customer delivery drawing version final draft signed
"""
WORDS = TEXT.split()


class Share:
    """The users' folders."""

    def __init__(self, path: Path, *, users: int, rng: random.Random) -> None:
        self.rng, self.path, self.count, self.serial = rng, path, Counter[str](), 0
        self.text = " ".join(rng.choices(WORDS, k=400_000)).encode()
        self.users = [path / f"user{user:02}" for user in range(users)]
        for folder in self.users:
            folder.mkdir(exist_ok=True)
        self.files = sorted(file for file in path.rglob("*") if file.is_file())

    def contents(self, kind: str) -> bytes:
        """Make the contents of a new file; sizes are log-normal."""
        rng = self.rng
        median, sigma = {"txt": (25_000, 1.2), "jpg": (400_000, 0.8), "tab": (60_000, 1.3)}[kind]
        size = min(int(rng.lognormvariate(0.0, sigma) * median) + 200, 8_000_000)
        if kind == "jpg":
            return rng.randbytes(size)
        begin = rng.randrange(max(len(self.text) - size, 1))
        text = self.text[begin : begin + size]
        if kind == "txt":
            return text
        page, rows = rng.randbytes(300), []
        for first in range(0, len(text), 900):
            rows.append(text[first : first + 600])
            rows.append(rng.randbytes(100) + page[: rng.randrange(300)])
        return b"".join(rows)

    def new(self) -> Path:
        """Save a new file."""
        rng = self.rng
        kind = rng.choices(("txt", "jpg", "tab"), weights=(6, 2, 3))[0]
        folder = rng.choice(self.users) / f"folder{min(int(rng.paretovariate(0.8)), 40):02}"
        folder.mkdir(exist_ok=True)
        self.serial += 1
        file = folder / f"{rng.choice(WORDS)}-{time.time_ns():x}-{self.serial}.{kind}"
        file.write_bytes(self.contents(kind))
        self.files.append(file)
        return file

    def any(self) -> Path:
        """Pick a file: the recent ones mostly."""
        back = int(self.rng.expovariate(1.0) * max(len(self.files) // 12, 1)) + 1
        return self.files[max(len(self.files) - back, 0)]

    def save(self) -> None:
        """Edit a file as an office program does: a new file renamed over the old one."""
        file = self.any()
        data = bytearray(file.read_bytes())
        begin = self.rng.randrange(len(data))
        data[begin : begin + self.rng.randrange(200)] = self.text[: self.rng.randrange(400)]
        part = file.with_suffix(".part")
        part.write_bytes(data or b"empty\n")
        part.rename(file)

    def patch(self) -> None:
        """Change a few pages in place, as a database or a mounted image does."""
        file = self.any()
        with file.open("r+b") as stream:
            for _ in range(self.rng.randrange(1, 6)):
                stream.seek(self.rng.randrange(file.stat().st_size + 1))
                stream.write(self.rng.randbytes(self.rng.randrange(100, 4000)))

    def append(self) -> None:
        """Add to the end."""
        with self.any().open("ab") as stream:
            stream.write(self.text[: self.rng.randrange(2000, 30_000)])

    def copy(self) -> None:
        """Copy a file: for a colleague, or as the next version."""
        file = self.rng.choice(self.files)
        target = self.rng.choice(self.users) / f"copy-{time.time_ns():x}{file.suffix}"
        shutil.copy2(file, target)
        self.files.append(target)

    def copy_folder(self) -> None:
        """Copy a folder whole, as people do who begin a new project with the old one."""
        folder = self.any().parent
        files = [file for file in folder.iterdir() if file.is_file()][:12]
        target = self.rng.choice(self.users) / f"project-{time.time_ns():x}"
        target.mkdir()
        for file in files:
            shutil.copy2(file, target)
            self.files.append(target / file.name)

    def rename(self) -> None:
        """Give a file another name."""
        number = self.rng.randrange(len(self.files))
        file = self.files[number]
        self.files[number] = file.rename(file.with_stem(f"{file.stem[:40]}-{self.rng.choice(WORDS)}"))

    def delete(self) -> None:
        """Remove a file, an old one as likely as a new one."""
        self.files.pop(self.rng.randrange(len(self.files))).unlink()

    def read(self) -> None:
        """Open a file that may be no longer in memory."""
        self.rng.choice(self.files).read_bytes()

    def operate(self) -> str:
        """Do one thing; return its name."""
        kinds: dict[str, tuple[Callable[[], object], int]] = {
            "new": (self.new, 16),
            "save": (self.save, 26),
            "patch": (self.patch, 8),
            "append": (self.append, 10),
            "copy": (self.copy, 7),
            "copy_folder": (self.copy_folder, 1),
            "rename": (self.rename, 5),
            "delete": (self.delete, 8),
            "read": (self.read, 19),
        }
        kind = self.rng.choices(list(kinds), weights=[weight for _, weight in kinds.values()])[0]
        kinds[kind][0]()
        self.count[kind] += 1
        return kind


def fill(share: Share, asked: argparse.Namespace) -> None:
    """Make the old files, and copies of one in ten."""
    written = 0
    while written < asked.old << 20:
        file = share.new()
        written += file.stat().st_size
        share.count["new"] += 1
        if share.rng.random() < 0.1:
            share.copy()
            written += share.files[-1].stat().st_size
            share.count["copy"] += 1


def day(share: Share, asked: argparse.Namespace) -> None:
    """Work through one represented day: operations at each hour's rate, a line in a log for each."""
    due, rates = asked.zero + 24 * asked.number * asked.unit, WEEKEND if asked.number >= 5 else WORKDAY
    end = due + 24 * asked.unit
    with (asked.logs / "access.log").open("a") as log:
        while True:
            hour = int((due - asked.zero) / asked.unit) % 24
            due += share.rng.expovariate(asked.busy * rates[hour] / 100)
            now = time.time()
            if max(due, now) >= end:
                return
            if due > now:
                time.sleep(due - now)
            kind = share.operate()
            log.write(f"{time.time():.6f} {kind} {share.rng.getrandbits(128):032x} {share.any()}\n" * 3)
            log.flush()


def main() -> None:
    """Do one kind of work."""
    kinds = {kind.__name__: kind for kind in (fill, day)}
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--old", type=int, default=0)
    parser.add_argument("--number", type=int, default=0)
    parser.add_argument("--zero", type=float, default=0.0)
    parser.add_argument("--unit", type=float, default=1.0)
    parser.add_argument("--busy", type=float, default=1.0)
    parser.add_argument("--logs", type=Path)
    asked = parser.parse_args()
    rng = random.Random(f"{asked.seed} {asked.kind} {asked.number}")  # noqa: S311
    share = Share(asked.path, users=asked.users, rng=rng)
    begin = time.monotonic()
    kinds[asked.kind](share, asked)
    done = ", ".join(f"{count} {what}" for what, count in sorted(share.count.items()))
    print(f"summary: {asked.kind} in {time.monotonic() - begin:.1f} s: {done}")


if __name__ == "__main__":
    main()
