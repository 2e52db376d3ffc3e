# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref serve``: the reference behind the wire protocol, on standard input and output."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import Final

from kvmref.cli.exit_status import SUCCESS
from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.protocol.server import Server, serve

_DESCRIPTION: Final = """\
Answer the requests of the wire protocol (spec/protocol.md): one JSON object per line on standard
input, one answer per line on standard output. So any language can ask the reference what must
happen; and the reference can be tested like any other implementation."""

_EPILOG: Final = """\
exit status:
  0    goodbye was said, or the requests have ended
  2    an argument is wrong
  130  interrupted

examples:
  echo '{"id":1,"request":"hello","protocol":1}' | kvmref serve
  kvmref smoke --implementation "kvmref serve"
"""


def main(arguments: Sequence[str]) -> int:
    """Serve, and return the exit status."""
    given = parser().parse_args(arguments)
    server = Server(MachineImplementation(), given.validate)
    # What has been made until here stays; the collector need not look at it again and again.
    gc.freeze()
    serve(server, sys.stdin.buffer, sys.stdout.buffer)
    return SUCCESS


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="kvmref serve",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--validate", action="store_true", help="check every answer too before it is given"
    )
    return made
