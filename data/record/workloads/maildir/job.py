"""Deliver, read, flag, move and expunge mail in maildirs.  Prints a line that begins with "summary:".

The messages are files of the standard library's maildirs: written to tmp, synced, renamed into new, and moved
into cur when they are seen; flags are in the names.  An index in SQLite, one a user, is what a mail server
would ask instead of the directories.
"""

import argparse
import contextlib
import mailbox
import random
import sqlite3
import time
from base64 import encodebytes
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TEXT = """
the of and to in is for with as on at by this be are from that it was not order meeting report draft
invoice budget review please thanks regards attached monday tuesday friday schedule project team
"""
WORDS = TEXT.split()


class Store:
    """The mailboxes of all users, with an index each."""

    def __init__(self, path: Path, *, users: int, median: float, rng: random.Random) -> None:
        self.rng, self.median, self.count = rng, median, Counter[str]()
        self.text = " ".join(rng.choices(WORDS, k=60_000))
        self.boxes, self.indexes = [], []
        for user in range(users):
            place = path / f"user{user:02}"
            box = mailbox.Maildir(place, create=True)
            self.boxes.append({"in": box, "archive": box.add_folder("archive"), "bin": box.add_folder("bin")})
            index = sqlite3.connect(place / "index.sqlite")
            index.execute("PRAGMA journal_mode=WAL")
            index.execute(
                "CREATE TABLE IF NOT EXISTS message (key PRIMARY KEY, folder, size, subject, seen, arrived)"
            )
            self.indexes.append(index)

    def message(self) -> bytes:
        """Make a message: text, and in one of five an attachment; sizes are log-normal."""
        rng = self.rng
        size = min(int(rng.lognormvariate(0.0, 1.4) * self.median) + 400, 4_000_000)
        attachment = size > 3 * self.median or rng.random() < 0.1
        sender, subject = rng.randrange(999), " ".join(rng.choices(WORDS, k=5))
        head = f"From: a{sender}@example.org\nTo: list@example.org\nSubject: {subject}\n"
        words = min(size // 4 if attachment else size, len(self.text) // 2)
        begin = rng.randrange(len(self.text) - words)
        body = self.text[begin : begin + words].encode()
        if attachment:
            body += b"\n--part\nContent-Transfer-Encoding: base64\n\n" + encodebytes(
                rng.randbytes((size - words) * 3 // 4)
            )
        return head.encode() + b"\n" + body + b"\n"

    def user(self) -> int:
        """Draw a user; some get far more mail than others."""
        return min(int(self.rng.paretovariate(0.7)) - 1, 10**9) % len(self.boxes)

    def deliver(self, user: int) -> None:
        """Write, sync, rename, index."""
        data = self.message()
        key = self.boxes[user]["in"].add(data)
        subject = data[: data.index(b"\n\n")].rpartition(b"Subject: ")[2].decode()
        with self.indexes[user] as index:
            index.execute(
                "INSERT INTO message VALUES (?, 'in', ?, ?, 0, ?)", (key, len(data), subject, time.time())
            )
        self.count["delivered"] += 1

    def read(self, user: int) -> None:
        """Open a folder: see what is new, read it, and do something with some of it."""
        index, boxes, rng = self.indexes[user], self.boxes[user], self.rng
        unseen = index.execute("SELECT key FROM message WHERE folder = 'in' AND NOT seen LIMIT 12").fetchall()
        for (key,) in unseen:
            with boxes["in"].get_file(key) as file:
                file.read()
            self.rename(boxes["in"], key, "S" + rng.choice(("", "", "", "F", "R")))
            self.count["read"] += 1
        with index:
            index.executemany("UPDATE message SET seen = 1 WHERE key = ?", unseen)
        for folder, share in (("bin", 0.5), ("archive", 0.2)):
            some = index.execute(
                "SELECT key FROM message WHERE folder = 'in' AND seen ORDER BY random() LIMIT ?",
                (int(len(unseen) * share + rng.random()),),
            ).fetchall()
            for (key,) in some:
                self.move(user, key, folder)
        if rng.random() < 0.3:
            self.expunge(user)

    def rename(self, box: mailbox.Maildir, key: str, flags: str) -> None:
        """Give a message its flags: a rename, from new to cur where it was new."""
        place = Path(box._path)  # noqa: SLF001 (the class has no public name for it)
        old = place / box._lookup(key)  # noqa: SLF001
        old.rename(place / "cur" / f"{key}:2,{''.join(sorted(flags))}")

    def move(self, user: int, key: str, folder: str) -> None:
        """Move a message between folders of one user: a rename."""
        boxes = self.boxes[user]
        source, target = Path(boxes["in"]._path), Path(boxes[folder]._path)  # noqa: SLF001
        old = source / boxes["in"]._lookup(key)  # noqa: SLF001
        old.rename(target / "cur" / old.name)
        with self.indexes[user] as index:
            index.execute("UPDATE message SET folder = ? WHERE key = ?", (folder, key))
        self.count[f"moved to {folder}"] += 1

    def expunge(self, user: int) -> None:
        """Empty the bin."""
        box = self.boxes[user]["bin"]
        for key in list(box.keys()):
            box.discard(key)
            self.count["expunged"] += 1
        with self.indexes[user] as index:
            index.execute("DELETE FROM message WHERE folder = 'bin'")

    def prune(self, user: int) -> None:
        """Delete the older half of the archive and of what was seen in the inbox."""
        index, boxes = self.indexes[user], self.boxes[user]
        for folder in ("in", "archive"):
            rows = index.execute(
                "SELECT key FROM message WHERE folder = ? AND seen ORDER BY arrived", (folder,)
            ).fetchall()
            for (key,) in rows[: len(rows) // 2]:
                boxes[folder].discard(key)
                self.count["deleted"] += 1
            with index:
                index.executemany("DELETE FROM message WHERE key = ?", rows[: len(rows) // 2])


def arrivals(rng: random.Random, seconds: float, rate: float) -> Iterator[None]:
    """Wait for the events of a Poisson process; one that comes late is not skipped."""
    zero = time.monotonic()
    due = zero
    while True:
        due += rng.expovariate(rate)
        now = time.monotonic()
        if max(due, now) - zero >= seconds:
            return
        if due > now:
            time.sleep(due - now)
        yield


def fill(store: Store, asked: argparse.Namespace) -> None:
    """Deliver the old mail."""
    for _ in range(asked.old):
        for user in range(len(store.boxes)):
            store.deliver(user)


def serve(store: Store, asked: argparse.Namespace) -> None:
    """Deliver at the rate; readers look in at an eighth of it times `readers`; few prune their folders."""
    share = asked.readers / 8
    for _ in arrivals(store.rng, asked.seconds, asked.rate * (1 + share)):
        if store.rng.random() * (1 + share) < 1:
            store.deliver(store.user())
        elif store.rng.random() < 0.05 * asked.readers:
            store.prune(store.rng.randrange(len(store.boxes)))
        else:
            store.read(store.user())


def expire(store: Store, asked: argparse.Namespace) -> None:  # noqa: ARG001
    """Empty all bins."""
    for user in range(len(store.boxes)):
        store.expunge(user)


def reindex(store: Store, asked: argparse.Namespace) -> None:  # noqa: ARG001
    """Rewrite the indexes."""
    for index in store.indexes:
        index.execute("VACUUM")
        index.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def main() -> None:
    """Do one kind of work."""
    kinds = {kind.__name__: kind for kind in (fill, serve, expire, reindex)}
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--median", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--old", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--readers", type=float, default=1.0)
    asked = parser.parse_args()
    begin = time.monotonic()
    rng = random.Random(f"{asked.seed} {asked.kind} {asked.rate} {asked.seconds}")  # noqa: S311
    store = Store(asked.path, users=asked.users, median=asked.median, rng=rng)
    kinds[asked.kind](store, asked)
    for index in store.indexes:
        with contextlib.closing(index):
            index.commit()
    done = ", ".join(f"{count} {what}" for what, count in sorted(store.count.items()))
    print(f"summary: {asked.kind} in {time.monotonic() - begin:.1f} s: {done}")


if __name__ == "__main__":
    main()
