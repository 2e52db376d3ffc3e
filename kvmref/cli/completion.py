# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref completion``: the script that lets a shell complete the arguments of ``kvmref``.

shtab makes it from the parsers of the sub-commands, so that it can't know other options than they
do. The ids of vectors are not in the script: the shell asks ``kvmref vectors list`` for them when
they are needed.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from kvmref import __version__
from kvmref.cli import main as cli
from kvmref.cli.exit_status import SUCCESS
from kvmref.errors import KvmrefError
from kvmref.harness.reports.formats import FORMATS

SHELLS: Final = ("bash", "zsh", "fish")

_DESCRIPTION: Final = """\
Print the script that lets a shell complete commands, options, files and the ids of vectors. It is
made by shtab: pip install 'kvmref[completion]'."""

_EPILOG: Final = """\
exit status:
  0    the script was printed
  2    an argument is wrong, or shtab isn't installed

examples:
  kvmref completion bash > ~/.local/share/bash-completion/completions/kvmref
  kvmref completion zsh > ~/.zfunc/_kvmref    # a folder of your $fpath
  kvmref completion fish > ~/.config/fish/completions/kvmref.fish
"""

_BASH: Final = """\
_kvmref_vectors_or_files() {
  compgen -W "$(kvmref vectors list 2>/dev/null | cut -d ' ' -f 1)" -- "$1"
  compgen -f -- "$1"
}
"""

_ZSH: Final = """\
_kvmref_vectors_or_files() {
  local -a ids
  ids=(${${(f)"$(kvmref vectors list 2>/dev/null)"}%% *})
  _alternative 'vectors:vector:_multi_parts / ids' 'files:file:_files'
}
"""

_FISH: Final = """\
function _kvmref_vectors_or_files
  kvmref vectors list 2>/dev/null | string replace -r ' +l[01] +' \\t
  __fish_complete_path (commandline -ct)
end
"""

_VECTORS: Final = {
    "bash": "_kvmref_vectors_or_files",
    "zsh": "_kvmref_vectors_or_files",
    "fish": "(_kvmref_vectors_or_files)",
    "preamble": {"bash": _BASH, "zsh": _ZSH, "fish": _FISH},
}
"""What completes the names of vectors: for each shell a function, and how it is defined."""


def main(arguments: Sequence[str]) -> int:
    """Print the script for the shell that *arguments* name, and return the exit status."""
    shell = parser().parse_args(arguments).shell
    try:
        import shtab
    except ImportError:
        raise KvmrefError(
            "completion: shtab isn't installed (try: pip install 'kvmref[completion]')"
        ) from None
    everything = whole_parser()
    completers: Mapping[str, object] = {
        "VECTOR": _VECTORS,
        "VECTORS": _VECTORS,
        "PATTERN": _VECTORS,
        "FILE": shtab.FILE,
        "CMD": shtab.FILE,
        "CMD|module:attribute": shtab.FILE,
        "REPORT": shtab.glob(*(f"*{suffix}" for suffix in FORMATS)),
    }
    for one in parsers(everything):
        for action in one._actions:
            kind = "REPORT" if action.dest == "report" else action.metavar
            if isinstance(kind, str) and kind in completers:
                vars(action)["complete"] = completers[kind]
                # zsh takes a colon in the name of a value for its end.
                action.metavar = kind.partition("|")[0]
    print(shtab.complete(everything, shell))
    return SUCCESS


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="kvmref completion",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("shell", choices=SHELLS, help="the shell to print the script for")
    return made


def whole_parser() -> argparse.ArgumentParser:
    """Return a parser of all that ``kvmref`` understands, sub-commands included."""
    made = argparse.ArgumentParser(prog="kvmref")
    made.add_argument("--version", action="version", version=__version__, help="print the version")
    commands = made.add_subparsers()
    for command in cli.COMMANDS:
        factory: Callable[[], argparse.ArgumentParser]
        factory = importlib.import_module(command.module).parser
        commands.add_parser(
            command.name,
            help=command.summary,
            description=command.summary,
            parents=[factory()],
            add_help=False,
        )
    return made


def parsers(of: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser, and all those below it."""
    yield of
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)
