# SPDX-License-Identifier: GPL-2.0-only
"""The log of a machine: the tracer that remembers, and that lets scripts act in the middle.

A hook waits for the n-th next occurrence of an event or a point. The event is in the log before its
hooks run, and what the event announces happens after them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kvmref.trace import Event


@dataclass(slots=True)
class Hook:
    """Something to do at the *count*-th next occurrence of the event or point *name*."""

    name: str
    count: int
    action: Callable[[], None]


class Log:
    """A `kvmref.trace.Tracer` that keeps the events of the current step, and runs hooks."""

    __slots__ = ("events", "hooks")

    def __init__(self) -> None:
        """Start with nothing remembered and no hooks."""
        self.events: list[Event] = []
        self.hooks: list[Hook] = []
        """The newest first."""

    def event(self, event: Event) -> None:
        """Remember *event*, then run the hooks that wait for it."""
        self.events.append(event)
        if self.hooks:
            self._run_hooks(event if isinstance(event, str) else str(event[0]))

    def point(self, name: str) -> None:
        """Run the hooks that wait for the point *name*."""
        if self.hooks:
            self._run_hooks(name)

    def _run_hooks(self, name: str) -> None:
        """Count an occurrence for every hook of *name*, from the newest on.

        A hook that runs is removed first, and the count starts again at the newest hook, because
        the hook may have changed the list. So one occurrence can count more than once.
        """
        position = 0
        while position < len(self.hooks):
            hook = self.hooks[position]
            position += 1
            if hook.name != name:
                continue
            hook.count -= 1
            if hook.count == 0:
                self.hooks.remove(hook)
                hook.action()
                position = 0
