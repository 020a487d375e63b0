"""Do one kind of work on a LevelDB store.  Prints what it did as a line that begins with "summary:"."""

import argparse
import bisect
import contextlib
import itertools
import random
import time
from collections.abc import Iterator

import plyvel

WORDS = b"alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau".split()  # noqa: E501


def key_of(number: int) -> bytes:
    """Name a record; the order of the names is the order of the numbers."""
    return b"record:%010d" % number


class Values:
    """Makes values: half text that compresses, half bytes that do not; sizes are log-normal."""

    def __init__(self, median: float, rng: random.Random) -> None:
        self.median, self.rng = median, rng
        self.text = b" ".join(rng.choices(WORDS, k=40_000))

    def __call__(self) -> bytes:
        """Make one."""
        length = min(max(int(self.rng.lognormvariate(0.0, 0.6) * self.median), 40), 20_000)
        begin = self.rng.randrange(len(self.text) - length)
        return self.text[begin : begin + length // 2] + self.rng.randbytes(length - length // 2)


class Zipf:
    """Draws record numbers: the k-th most popular with a probability in proportion to k ** -exponent."""

    def __init__(self, count: int, rng: random.Random, exponent: float = 0.99) -> None:
        self.rng = rng
        self.cumulative = list(itertools.accumulate((k + 1) ** -exponent for k in range(count)))
        self.numbers = list(range(count))
        random.Random(1).shuffle(self.numbers)  # noqa: S311

    def __call__(self) -> int:
        """Draw one."""
        return self.numbers[bisect.bisect(self.cumulative, self.rng.random() * self.cumulative[-1])]


def pace(seconds: float, rate: float) -> Iterator[int]:
    """Yield operation numbers at a steady rate for so many seconds."""
    zero = time.monotonic()
    for operation in itertools.count():
        due = zero + operation / rate
        now = time.monotonic()
        if now - zero >= seconds:
            return
        if due > now:
            time.sleep(due - now)
        yield operation


def fill(store: plyvel.DB, work: argparse.Namespace) -> int:
    """Insert the records in their order."""
    for first in range(0, work.keys, 100):
        with store.write_batch() as batch:
            for number in range(first, min(first + 100, work.keys)):
                batch.put(key_of(number), work.values())
    return work.keys


def overwrite(store: plyvel.DB, work: argparse.Namespace) -> int:
    """Write popular records again, and read one in ten."""
    zipf, done = Zipf(work.keys, work.rng), 0
    for done in pace(work.seconds, work.rate):
        key = key_of(zipf())
        if work.rng.random() < 0.1:
            store.get(key)
        else:
            store.put(key, work.values(), sync=done % 50 == 0)
    return done


def churn(store: plyvel.DB, work: argparse.Namespace) -> int:
    """Insert, overwrite, delete, scan a little."""
    zipf, rng, done, fresh = Zipf(work.keys, work.rng), work.rng, 0, work.keys
    for done in pace(work.seconds, work.rate):
        kind = rng.random()
        if kind < 0.35:
            store.put(key_of(fresh), work.values(), sync=done % 20 == 0)
            fresh += 1
        elif kind < 0.65:
            store.put(key_of(zipf()), work.values())
        elif kind < 0.9:
            store.delete(key_of(rng.randrange(fresh)))
        else:
            for _ in itertools.islice(store.iterator(start=key_of(zipf())), 20):
                pass
    return done


def delete(store: plyvel.DB, work: argparse.Namespace) -> int:
    """Delete ranges: a third of the records."""
    deleted = 0
    for first in range(0, work.keys, 3000):
        with store.write_batch(sync=True) as batch:
            for number in range(first, first + 1000):
                batch.delete(key_of(number))
                deleted += 1
    return deleted


def compact(store: plyvel.DB, work: argparse.Namespace) -> int:  # noqa: ARG001
    """Compact all."""
    store.compact_range(start=b"record:", stop=b"record;")  # without both, plyvel asks for an empty range
    return 1


def scan(store: plyvel.DB, work: argparse.Namespace) -> int:  # noqa: ARG001
    """Read all in order."""
    return sum(1 for _ in store.iterator(fill_cache=False))


def refill(store: plyvel.DB, work: argparse.Namespace) -> int:
    """Insert in random order, each batch synced."""
    done = 0
    for _ in pace(work.seconds, work.rate / 10):
        done += 10
        with store.write_batch(sync=True) as batch:
            for _ in range(10):
                batch.put(key_of(work.rng.randrange(2 * work.keys)), work.values())
    return done


def main() -> None:
    """Do one kind of work."""
    kinds = {kind.__name__: kind for kind in (fill, overwrite, churn, delete, compact, scan, refill)}
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--path", required=True)
    parser.add_argument("--keys", type=int, required=True)
    parser.add_argument("--value", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rate", type=float)
    work = parser.parse_args()
    work.rng = random.Random(f"{work.seed} {work.kind}")  # noqa: S311
    work.values = Values(work.value, work.rng)
    begin = time.monotonic()
    with contextlib.closing(plyvel.DB(work.path, create_if_missing=True, compression="snappy")) as store:
        done = kinds[work.kind](store, work)
        levels = [int(store.get_property(b"leveldb.num-files-at-level%d" % level)) for level in range(7)]
    seconds = time.monotonic() - begin
    print(f"summary: {work.kind} {done} operations in {seconds:.1f} s; files at levels {levels}")


if __name__ == "__main__":
    main()
