# SPDX-License-Identifier: GPL-2.0-only
"""The errors that kvmref reports: what was wrong, where, and what is accepted.

They are for whoever wrote the input or gave the command, so the text of each is one line without a
traceback. A mistake inside kvmref is never one of them.
"""

from __future__ import annotations


class KvmrefError(Exception):
    """Anything that kvmref can't do, for a reason that lies outside of it."""


class InputError(KvmrefError):
    """Something that was read isn't what it should be.

    It is raised where the mistake is seen, which is often a place that knows neither the file nor
    the way to the value; those who know add it on the way up, with `within` and `located`.
    """

    def __init__(
        self,
        problem: str,
        accepted: str | None = None,
        key_path: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        """Say that *problem* was found at *key_path* in *line* (from 1) of *file*.

        *accepted* says what would have been right, unless *problem* makes that clear.
        """
        super().__init__(problem, accepted, key_path, file, line)
        self.problem = problem
        self.accepted = accepted
        self.key_path = key_path
        self.file = file
        self.line = line

    def within(self, key: str | int) -> InputError:
        """Return the same error, seen from the object or the list that has the value at *key*."""
        step = f"[{key}]" if isinstance(key, int) else key
        rest = self.key_path or ""
        joint = "." if rest and not rest.startswith("[") else ""
        return InputError(self.problem, self.accepted, step + joint + rest, self.file, self.line)

    def located(self, file: str, line: int | None = None) -> InputError:
        """Return the same error, in a *line* of *file* or, without a line, in all of it."""
        return InputError(self.problem, self.accepted, self.key_path, file, line)

    def __str__(self) -> str:
        """Return the one line that describes the error."""
        where = self.file
        if where is not None and self.line is not None:
            where = f"{where}:{self.line}"
        text = ": ".join(part for part in (where, self.key_path, self.problem) if part is not None)
        return text if self.accepted is None else f"{text} (accepted: {self.accepted})"


class InvalidVectorError(KvmrefError):
    """A vector or a starting point isn't what it should be, for one or more reasons.

    Its text has a line for each of its *errors*.
    """

    def __init__(self, errors: tuple[InputError, ...]) -> None:
        """Say what all is wrong."""
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        """Return the lines that describe the errors."""
        return "\n".join(str(error) for error in self.errors)


class UnknownKeyError(KvmrefError):
    """Somebody asked for an observation key that doesn't exist."""

    def __init__(self, key: str) -> None:
        """Say that *key* doesn't exist."""
        super().__init__(f"no observation key is called {key!r}")


class UnsupportedStepError(KvmrefError):
    """A step can't be done to this machine: it is unknown, or it names something unknown."""
