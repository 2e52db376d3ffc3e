# SPDX-License-Identifier: GPL-2.0-only
"""A child process that is asked line by line: every question is a line, and so is every answer.

The child is a stranger. It may hang, die, close its output, write without end or not read at all;
none of that blocks whoever asks for longer than the time given, or makes memory grow without bound.
One loop polls all three pipes, so there are no threads. Nothing here knows what the lines mean.

Pipes can be polled on POSIX systems only.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Final

from kvmref.errors import InputError, KvmrefError
from kvmref.harness.notation.values import shortened

LONGEST_COMPLAINT: Final = 64 << 10
"""How many bytes of standard error are kept, the last ones."""

_CHUNK: Final = 64 << 10

_TO_DIE: Final = 0.5
"""How many seconds a child that has closed its output may take until it has ended."""

_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL
_READABLE: Final = select.POLLIN | select.POLLPRI | _GONE


class ChildError(KvmrefError):
    """The child did not answer with a line."""


class Child:
    """One process, in a process group of its own, from its start to its end."""

    def __init__(self, command: Sequence[str], longest_line: int) -> None:
        """Start *command*, without a shell; answers are at most *longest_line* bytes.

        Raises `InputError` if there is no such program.
        """
        self._longest_line = longest_line
        self._received = bytearray()
        self._complaint = bytearray()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(f"{command[0]} can't be started: {reason}", "a program") from None
        self._pipes = [_opened(self._process.stdin)]
        self._pipes += [_opened(self._process.stdout), _opened(self._process.stderr)]
        self._stdin, self._stdout, self._stderr = (pipe.fileno() for pipe in self._pipes)
        self._poll = select.poll()
        for descriptor in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(descriptor, False)
        self._poll.register(self._stdout, select.POLLIN)
        self._poll.register(self._stderr, select.POLLIN)

    @property
    def process(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self, line: bytes, seconds: float) -> bytes:
        """Write *line*, and return the next line that comes within so many *seconds*.

        Raises `ChildError` if none does.
        """
        deadline = time.monotonic() + seconds
        unsent = self._send(memoryview(line))
        if unsent:
            self._poll.register(self._stdin, select.POLLOUT)
        try:
            searched = 0
            while True:
                end = self._received.find(b"\n", searched, self._longest_line)
                if end >= 0 and not unsent:
                    answer = bytes(self._received[:end])
                    del self._received[: end + 1]
                    return answer
                searched = len(self._received)
                if searched >= self._longest_line:
                    raise ChildError(f"a line of more than {self._longest_line >> 20} MiB")
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise ChildError(f"no answer within {seconds:g} s")
                # One millisecond more, because poll takes whole ones.
                for descriptor, _ in self._poll.poll(int(remaining * 1000) + 1):
                    if descriptor == self._stdout:
                        self._receive()
                    elif descriptor == self._stderr:
                        self._listen()
                    else:
                        unsent = self._send(unsent)
                        if not unsent:
                            self._poll.unregister(self._stdin)
                            searched = 0
        finally:
            if unsent:
                self._poll.unregister(self._stdin)

    def _send(self, line: memoryview) -> memoryview:
        """Write as much of *line* as the child takes now; return the rest."""
        try:
            return line[os.write(self._stdin, line) :]
        except BlockingIOError:
            return line
        except BrokenPipeError:
            # Why it doesn't read any more shows in what it writes, or in that it ends.
            return line[:0]

    def _receive(self) -> None:
        """Read what there is of the answer."""
        try:
            chunk = os.read(self._stdout, _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            raise ChildError(self._how_it_ended())
        self._received += chunk

    def _how_it_ended(self) -> str:
        """Return why there will be no more answers."""
        unfinished = ""
        if self._received:
            begun = shortened(bytes(self._received[:100]).decode(errors="replace"), 60)
            unfinished = f" in the middle of an answer, after {begun!r}"
        try:
            status = self._process.wait(_TO_DIE)
        except subprocess.TimeoutExpired:
            return f"closed its standard output{unfinished}"
        if status < 0:
            return f"died{unfinished}: {_signal_name(-status)}"
        return f"ended{unfinished}: exit status {status}"

    def _listen(self) -> bool:
        """Read some of standard error; tell whether there was anything."""
        try:
            chunk = os.read(self._stderr, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            with suppress(KeyError):
                self._poll.unregister(self._stderr)
            return False
        self._complaint += chunk
        del self._complaint[:-LONGEST_COMPLAINT]
        return True

    def complaint(self) -> str:
        """Return the end of what the child has written to standard error."""
        if not self._pipes[2].closed:
            # Bounded, because a child can write faster than anybody reads.
            for _ in range(16):
                if not self._listen():
                    break
        return self._complaint.decode(errors="replace")

    def status(self, seconds: float) -> int | None:
        """Return the exit status, ``None`` if the child doesn't end within so many *seconds*."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, seconds: float) -> None:
        """End the child: its input ends; *seconds* later it is asked to end, then it is killed."""
        self._pipes[0].close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.status(seconds) is not None:
                break
            self._signal(number)
        self._finish()

    def kill(self) -> None:
        """End the child now."""
        self._signal(signal.SIGKILL)
        self._finish()

    def _signal(self, number: signal.Signals) -> None:
        # Once it has been waited for, its number can be that of another process.
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _finish(self) -> None:
        self._process.wait()
        self.complaint()
        for pipe in self._pipes:
            pipe.close()


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
