"""What goes by in a log of nbdkit, counted while it is written: for people who watch."""

import re
from dataclasses import dataclass

_LINE = re.compile(
    rb"connection=\d+ (?:(Write|Zero|Read|Trim|Flush) id=\d+(?: offset=0x[0-9a-f]+ count=0x([0-9a-f]+))?"
    rb"|(Connect|Disconnect) )"
)


@dataclass
class Activity:
    """Counts since the recording began, or was taken up again.

    Attributes
    ----------
    requests : int
        Requests of all kinds.
    written : int
        What was written, zeroes too.  [bytes]
    connected : int
        Clients that are there now.
    clients : int
        Clients that ever came.
    """

    requests: int = 0
    written: int = 0
    connected: int = 0
    clients: int = 0

    def see(self, lines: bytes) -> None:
        """Count whole lines of the log."""
        for action, length, client in _LINE.findall(lines):
            if client == b"Connect":
                self.connected += 1
                self.clients += 1
            elif client:
                self.connected -= 1
            else:
                self.requests += 1
                if action in {b"Write", b"Zero"}:
                    self.written += int(length or b"0", 16)  # none: a line cut off by a kill or a full disk
