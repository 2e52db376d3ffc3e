# SPDX-License-Identifier: GPL-2.0-only
"""An adapter that breaks: the reference behind the protocol, with one fault.

Usage: faulty.py FAULT [MARKER]. The fault shows when L0 is to enter a guest (or at goodbye, if that
is what it is about). With a MARKER, a file, it shows once: the first process that gets there
creates the file, and everything else is right. It never reads or writes anything else.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.protocol.server import Server


def say(text: bytes) -> None:
    """Write *text*, and let nothing wait in a buffer."""
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def hang() -> NoReturn:
    """Do nothing for ever."""
    while True:
        time.sleep(3600)


def changed(answer: bytes, **members: object) -> bytes:
    """Return *answer* with other *members*."""
    return json.dumps({**json.loads(answer), **members}).encode() + b"\n"


def die_in_the_middle(answer: bytes) -> None:
    """Write half an answer, and end."""
    say(answer[: len(answer) // 2])
    os._exit(3)


def crash(_: bytes) -> None:
    """End by a signal, after a last word."""
    print("about to crash", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def close_output(_: bytes) -> None:
    """Close standard output, and go on."""
    os.close(1)
    hang()


def complain(_: bytes) -> None:
    """Write to standard error without end."""
    while True:
        os.write(2, b"complaint " * 1000 + b"\n")


def complain_and_answer(answer: bytes) -> None:
    """Write more to standard error than any pipe holds, and answer."""
    os.write(2, b"complaint\n" * 50_000)
    say(answer)


def next_id(answer: bytes) -> int:
    """Return the id after that of *answer*."""
    return int(json.loads(answer)["id"]) + 1


FAULTS: dict[str, Callable[[bytes], None]] = {
    "hangs": lambda _: hang(),
    "ends": lambda _: os._exit(3),
    "dies-in-the-middle": die_in_the_middle,
    "crashes": crash,
    "garbage": lambda _: say(b"Segmentation fault, perhaps\n"),
    "not-utf-8": lambda _: say(b"\xff\xfe\n"),
    "no-object": lambda _: say(b"[1, 2]\n"),
    "out-of-order": lambda answer: say(changed(answer, id=next_id(answer))),
    "answers-twice": lambda answer: say(answer + answer),
    "wrong-kind": lambda _: say(b'{"id":4,"answer":"bye"}\n'),
    "wrong-type": lambda answer: say(changed(answer, ret="1")),
    "unknown-member": lambda answer: say(changed(answer, result=1)),
    "unknown-event": lambda answer: say(changed(answer, log=["no_such_event"])),
    "10-megabytes": lambda _: say(b"x" * 10_000_000 + b"\n"),
    "closes-output": close_output,
    "endless-stderr": complain,
    "noisy": complain_and_answer,
    "error": lambda _: say(b'{"id":4,"answer":"error","problem":"out of luck"}\n'),
}
"""What can go wrong with the answer to ``enter``, by name."""


def ignore_goodbye() -> NoReturn:
    """Neither answer goodbye, nor end when asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang()


def main(fault: str, marker: str | None = None) -> None:
    """Answer, with *fault*."""
    server = Server(MachineImplementation())
    for line in sys.stdin.buffer:
        answer = server.answer(line)
        if fault == "ignores-bye" and server.ended:
            ignore_goodbye()
        entering = b'"op":"enter"' in line
        if entering and fault in FAULTS and not (marker and Path(marker).exists()):
            if marker:
                Path(marker).touch()
            FAULTS[fault](answer)
        else:
            say(answer)
        if server.ended:
            break


if __name__ == "__main__":
    main(*sys.argv[1:])
