"""The real restic on forged snapshot records.

Taking a snapshot with restic costs most of a second, writing its record some microseconds, and `forget
--dry-run` reads nothing but the records.  So a repository is made once, its key is locked again with a
password hash that costs nothing, and the records are written here, in restic's own format: IV, AES-256-CTR,
Poly1305-AES, and a file name that is the SHA-256 of the contents.  One host stands for one scenario: forget
decides host by host.
"""

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from snapsim.types import Snapshot

PASSWORD = "forged"
SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Keys(NamedTuple):
    """What restic encrypts with, and signs with."""

    encrypt: bytes  # 32 bytes
    mac_k: bytes  # 16 bytes
    mac_r: bytes  # 16 bytes


class RealRestic:
    """A restic repository whose snapshots are forged anew for every question."""

    def __init__(self, folder):
        self.repository = folder / "restic-repository"
        self._environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "HOME": str(folder)}
        self._run("init", "-q", "--no-cache")
        self.keys = _cheapen_the_key(self.repository)

    def _run(self, *arguments, tz="UTC", check=True):
        command = ["restic", "--repo", str(self.repository), *arguments]
        environment = {**self._environment, "TZ": tz}
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        if check and done.returncode:
            message = f"{' '.join(command)}: {done.stderr.strip()}"
            raise RuntimeError(message)
        return done

    def forge(self, scenarios: Mapping[str, Sequence[Snapshot]]) -> dict[str, tuple[str, str]]:
        """Replace the repository's snapshots; return {restic's id: (scenario, our id)}."""
        folder = self.repository / "snapshots"
        for old in folder.iterdir():
            old.unlink()
        names = {}
        for scenario, snapshots in scenarios.items():
            for snapshot in snapshots:
                sealed = seal(self.keys, json.dumps(_record(scenario, snapshot)).encode())
                name = hashlib.sha256(sealed).hexdigest()
                (folder / name).write_bytes(sealed)
                names[name] = (scenario, snapshot.id)
        return names

    def forget(self, scenarios: Mapping[str, Sequence[Snapshot]], args: Sequence[str], tz: str = "UTC"):
        """Return what `restic forget ARGS` would leave of each scenario: {scenario: set of ids}."""
        names = self.forge(scenarios)
        done = self._run(
            "forget", "--dry-run", "--json", "--no-cache", "--no-lock", "--group-by", "host", *args, tz=tz
        )
        kept = {name: {snapshot.id for snapshot in snapshots} for name, snapshots in scenarios.items()}
        for group in json.loads(done.stdout.strip() or "null") or []:
            for snapshot in group["remove"] or []:
                scenario, identity = names[snapshot["id"]]
                kept[scenario].remove(identity)
            left = {names[snapshot["id"]][1] for snapshot in group["keep"] or []}
            assert left == kept[group["host"]]  # what it does not remove is what it says that it keeps
        return kept

    def listing(self, scenarios: Mapping[str, Sequence[Snapshot]], tz: str = "UTC"):
        """Return the output of `restic snapshots --json`, and {restic's id: (scenario, our id)}."""
        names = self.forge(scenarios)
        return self._run("snapshots", "--json", "--no-cache", "--no-lock", tz=tz).stdout, names


def _record(host, snapshot):
    attributes = snapshot.attributes
    return {
        "time": _rfc3339(snapshot.time_ns, attributes.get("utc_offset_s", 0)),
        "tree": hashlib.sha256(snapshot.id.encode()).hexdigest(),
        "paths": sorted(attributes.get("paths", ("/data",))),
        "hostname": host,
        "username": "root",
        "tags": sorted(snapshot.tags),
    }


def _rfc3339(time_ns, offset_s):
    clock = timezone(timedelta(seconds=offset_s))
    seconds, rest = divmod(time_ns, SECOND)
    moment = (EPOCH + timedelta(seconds=seconds)).astimezone(clock).isoformat()
    local, offset = moment[:19], moment[19:]
    return f"{local}.{rest:09d}{offset}"


def seal(keys, plain):
    iv = os.urandom(16)
    cipher = Cipher(algorithms.AES(keys.encrypt), modes.CTR(iv)).encryptor()
    sealed = cipher.update(plain) + cipher.finalize()
    return iv + sealed + _mac(keys, iv, sealed)


def unseal(keys, sealed):
    iv, body, mac = sealed[:16], sealed[16:-16], sealed[-16:]
    assert mac == _mac(keys, iv, body), "restic's format is not what it is taken for here"
    cipher = Cipher(algorithms.AES(keys.encrypt), modes.CTR(iv)).decryptor()
    return cipher.update(body) + cipher.finalize()


def _mac(keys, iv, body):
    """Poly1305-AES: the one-time part of the key is the encrypted IV."""
    block = Cipher(algorithms.AES(keys.mac_k), modes.ECB()).encryptor()  # one block: ECB is plain AES
    return Poly1305.generate_tag(keys.mac_r + block.update(iv) + block.finalize(), body)


def _password_keys(key):
    secret = hashlib.scrypt(
        PASSWORD.encode(), salt=base64.b64decode(key["salt"]),
        n=key["N"], r=key["r"], p=key["p"], dklen=64, maxmem=1 << 30,
    )  # fmt: skip
    return Keys(secret[:32], secret[32:48], secret[48:])


def _cheapen_the_key(repository):
    """Lock the master key again with scrypt at its cheapest, so that opening costs nothing."""
    (path,) = (repository / "keys").iterdir()
    key = json.loads(path.read_text())
    master = unseal(_password_keys(key), base64.b64decode(key["data"]))
    key.update(N=2, r=1, p=1)
    key["data"] = base64.b64encode(seal(_password_keys(key), master)).decode()
    text = json.dumps(key).encode()
    path.unlink()
    path.with_name(hashlib.sha256(text).hexdigest()).write_bytes(text)
    parts = json.loads(master)
    decode = base64.b64decode
    return Keys(decode(parts["encrypt"]), decode(parts["mac"]["k"]), decode(parts["mac"]["r"]))
