# SPDX-License-Identifier: GPL-2.0-only
"""A timeline: what happened in which lane, L0, L1 or L2, and in which order.

It is made from the logs of steps and, where it is known, from the requests before, during and after
them. There is no clock: time counts what is on the timeline. Nothing is drawn here; pictures and
text are made from a timeline by `kvmref.harness.reports`.

How it is read from a log: a guest runs from ``vmentry`` to ``vmexit``, in the lane L1 if the VMCS
is vmcs01 and in the lane L2 otherwise; a VM entry that fails is no run. An event that is injected
is delivered in the guest's lane. Interrupts are off from ``local_irq_disable`` to
``local_irq_enable``. A ``vmptrld`` of the other VMCS is the switch between L1 and L2. An IPI, and a
kick, is an arrow to the next ``reschedule_interrupt``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Final

from kvmref.harness.reports.watch import Watched
from kvmref.harness.wording.findings import item_in_words
from kvmref.harness.wording.narration import (
    delivered_in_words,
    entry_failed,
    injects,
    reason_in_words,
    requests_in_words,
    step_in_words,
    vector_in_words,
)
from kvmref.machine.steps import Enter, Step
from kvmref.trace import EVENTS, Event

FORMAT: Final = 1
"""Version of the timeline as JSON, spec/reports.md."""


class Lane(Enum):
    """Who acts."""

    L0 = "L0"
    L1 = "L1"
    L2 = "L2"


class What(Enum):
    """What a marker marks."""

    ENTRY = "entry"
    ATTEMPT = "attempt"
    """A VM entry that fails."""
    DELIVERY = "delivery"
    EXIT = "exit"
    ENTRY_FAILED = "entry-failed"
    REQUEST_MADE = "request-made"
    REQUEST_CONSUMED = "request-consumed"
    IRQS_OFF = "irqs-off"
    IRQS_ON = "irqs-on"
    IPI_SENT = "ipi-sent"
    IPI_TAKEN = "ipi-taken"
    TO_L1 = "to-l1"
    TO_L2 = "to-l2"
    ACKNOWLEDGED = "acknowledged"
    OTHER = "other"


@dataclass(slots=True, frozen=True)
class Marker:
    """Something that happened at one time."""

    time: int
    lane: Lane
    what: What
    text: str
    """What it is, for people."""
    event: str = ""
    """The item of the log that it was read from, if there is one."""


class SpanKind(Enum):
    """What lasts."""

    RUN = "run"
    """A guest runs; the lane says which."""
    IRQS_OFF = "irqs-off"


@dataclass(slots=True, frozen=True)
class Span:
    """Something that lasted from one time to another; both belong to it."""

    kind: SpanKind
    lane: Lane
    start: int
    end: int


@dataclass(slots=True, frozen=True)
class Arrow:
    """An interrupt on its way: from who sent it to where it was taken."""

    start: int
    end: int


@dataclass(slots=True, frozen=True)
class TimelineStep:
    """A step, and the time that it took."""

    number: int
    """From 0 for the steps of the vector itself; negative for those of its starting point."""
    start: int
    end: int
    text: str
    note: str = ""
    enters: bool = False
    """It is a pass of L0 through ``vcpu_enter_guest``."""
    ret: int | None = None
    logged: bool = True
    """There is a log; without one, nothing is known but the step itself."""


@dataclass(slots=True, frozen=True)
class Timeline:
    """What happened, in order. All times differ, but a step starts when it starts."""

    title: str
    steps: tuple[TimelineStep, ...] = ()
    markers: tuple[Marker, ...] = ()
    spans: tuple[Span, ...] = ()
    arrows: tuple[Arrow, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return the timeline as values that JSON has."""
        return {
            "format": FORMAT,
            "title": self.title,
            "lanes": [lane.value for lane in Lane],
            "steps": [
                {
                    "number": step.number,
                    "start": step.start,
                    "end": step.end,
                    "text": step.text,
                    "note": step.note,
                    "enters": step.enters,
                    "ret": step.ret,
                    "logged": step.logged,
                }
                for step in self.steps
            ],
            "markers": [
                {
                    "time": marker.time,
                    "lane": marker.lane.value,
                    "what": marker.what.value,
                    "text": marker.text,
                    "event": marker.event,
                }
                for marker in self.markers
            ],
            "spans": [
                {
                    "kind": span.kind.value,
                    "lane": span.lane.value,
                    "start": span.start,
                    "end": span.end,
                }
                for span in self.spans
            ],
            "arrows": [{"start": arrow.start, "end": arrow.end} for arrow in self.arrows],
        }


@dataclass(slots=True, frozen=True)
class Record:
    """A step that somebody has done, and what is known of it."""

    step: Step
    note: str = ""
    ret: int | None = None
    log: tuple[Event, ...] | None = None
    requests: tuple[int, ...] = ()
    """Requests before the step, at every event of the log, and after the step; or only before and
    after; or nothing, if they are not known."""
    preamble: bool = False


def of_reference(title: str, watched: Iterable[Watched], *, preamble: bool = False) -> Timeline:
    """Return the timeline of what the reference did, with the starting point if *preamble*."""
    records = [
        Record(
            item.step,
            item.note,
            item.ret,
            item.log,
            tuple(sample.requests for sample in item.samples),
            item.preamble,
        )
        for item in watched
    ]
    return timeline(title, records, preamble=preamble)


def timeline(title: str, records: Sequence[Record], *, preamble: bool = False) -> Timeline:
    """Return the timeline of *records*; the steps of a starting point only if *preamble*."""
    builder = _Builder(-sum(record.preamble for record in records))
    for record in records:
        builder.add(record, shown=preamble or not record.preamble)
    return builder.finish(title)


@dataclass(slots=True)
class _Builder:
    """A timeline in the making."""

    number: int
    """Number of the next step."""
    time: int = -1
    loaded: str = "01"
    running: Lane | None = None
    run_start: int = 0
    irqs_off: int | None = None
    """Since when interrupts are off."""
    sent: int | None = None
    """When the interrupt was sent that has not been taken yet."""
    steps: list[TimelineStep] = field(default_factory=list)
    markers: list[Marker] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)

    def add(self, record: Record, *, shown: bool) -> None:
        """Go on with *record*; if it is not *shown*, only remember where it leaves things."""
        if not shown:
            for event in record.log or ():
                self._remember(event)
            self.number += 1
            return
        self.time += 1
        start = self.time
        pass_ = isinstance(record.step, Enter)
        log = record.log or ()
        changes = _changes(record.requests, len(log))
        for index, event in enumerate(log):
            self._requests(changes.get(index), pass_)
            self._event(event, log[index + 1 :])
        self._requests(changes.get(len(log)), pass_)
        self._end_run()
        self.steps.append(
            TimelineStep(
                self.number,
                start,
                self.time,
                step_in_words(record.step),
                record.note,
                pass_,
                record.ret,
                record.log is not None,
            )
        )
        self.number += 1

    def finish(self, title: str) -> Timeline:
        """Return the timeline."""
        if self.irqs_off is not None:
            self.spans.append(Span(SpanKind.IRQS_OFF, Lane.L0, self.irqs_off, self.time))
        self.spans.sort(key=lambda span: (span.start, span.end))
        return Timeline(
            title,
            tuple(self.steps),
            tuple(self.markers),
            tuple(self.spans),
            tuple(self.arrows),
        )

    def _mark(self, lane: Lane, what: What, text: str, event: Event | None = None) -> None:
        self.time += 1
        shown = "" if event is None else item_in_words(event)
        self.markers.append(Marker(self.time, lane, what, text, shown))

    def _remember(self, event: Event) -> None:
        arguments = _arguments(event)
        name = _name(event)
        if name in ("vmentry", "vmptrld"):
            self.loaded = str(arguments.get("vmcs", self.loaded))

    def _requests(self, change: tuple[int, int] | None, pass_: bool) -> None:
        if change is None:
            return
        made, consumed = change
        for name in requests_in_words(consumed):
            text = f"L0 takes the request {name}" if pass_ else f"the request {name} is cleared"
            self._mark(Lane.L0, What.REQUEST_CONSUMED, text)
        for name in requests_in_words(made):
            self._mark(Lane.L0, What.REQUEST_MADE, f"request {name} is made")

    def _event(self, event: Event, following: Sequence[Event]) -> None:
        arguments = _arguments(event)
        match _name(event):
            case "vmentry":
                self._entry(event, arguments, following)
            case "vmexit":
                self._exit(event, arguments)
            case "vmfail":
                error = _integer(arguments.get("error"))
                self._mark(Lane.L0, What.ENTRY_FAILED, f"VMfail, error {error}", event)
            case "local_irq_disable":
                self._mark(Lane.L0, What.IRQS_OFF, "interrupts off", event)
                if self.irqs_off is None:
                    self.irqs_off = self.time
            case "local_irq_enable":
                self._mark(Lane.L0, What.IRQS_ON, "interrupts on", event)
                if self.irqs_off is not None:
                    self.spans.append(Span(SpanKind.IRQS_OFF, Lane.L0, self.irqs_off, self.time))
                    self.irqs_off = None
            case "smp_send_reschedule":
                cpu = _integer(arguments.get("cpu"))
                self._send(f"L0 sends an IPI to CPU {cpu}", event)
            case "kick_ipi":
                self._send("a kick sends an IPI", event)
            case "reschedule_interrupt":
                self._take(event)
            case "vmptrld":
                self._switch(event, str(arguments.get("vmcs", "")))
            case "ack_irq":
                vector = vector_in_words(_integer(arguments.get("vector")))
                text = f"interrupt {vector} is taken from the interrupt controller"
                self._mark(Lane.L0, What.ACKNOWLEDGED, text, event)
            case _:
                self._mark(Lane.L0, What.OTHER, item_in_words(event), event)

    def _entry(
        self, event: Event, arguments: Mapping[str, object], following: Sequence[Event]
    ) -> None:
        self.loaded = str(arguments.get("vmcs", ""))
        lane = Lane.L1 if self.loaded == "01" else Lane.L2
        if not _runs(following):
            self._mark(lane, What.ATTEMPT, f"VM entry to {lane.value}, which fails", event)
            return
        self._mark(lane, What.ENTRY, f"VM entry to {lane.value}", event)
        self.running = lane
        self.run_start = self.time
        intr_info = _integer(arguments.get("intr_info"))
        if injects(intr_info):
            delivered = delivered_in_words(intr_info, _integer(arguments.get("err")))
            self._mark(lane, What.DELIVERY, f"{lane.value} receives {delivered}")

    def _exit(self, event: Event, arguments: Mapping[str, object]) -> None:
        reason = _integer(arguments.get("reason"))
        name = reason_in_words(reason)
        if entry_failed(reason):
            self._end_run()
            self._mark(Lane.L0, What.ENTRY_FAILED, f"the VM entry failed: {name}", event)
            return
        lane = self.running or (Lane.L1 if arguments.get("vmcs") == "01" else Lane.L2)
        self._mark(lane, What.EXIT, f"{lane.value} exits: {name}", event)
        self._end_run()

    def _end_run(self) -> None:
        if self.running is not None:
            self.spans.append(Span(SpanKind.RUN, self.running, self.run_start, self.time))
            self.running = None

    def _send(self, text: str, event: Event) -> None:
        self._mark(Lane.L0, What.IPI_SENT, text, event)
        self.sent = self.time

    def _take(self, event: Event) -> None:
        text = "L0 takes an interrupt" if self.sent is None else "L0 takes the IPI"
        self._mark(Lane.L0, What.IPI_TAKEN, text, event)
        if self.sent is not None:
            self.arrows.append(Arrow(self.sent, self.time))
            self.sent = None

    def _switch(self, event: Event, vmcs: str) -> None:
        before, self.loaded = self.loaded, vmcs
        if before == vmcs:
            self._mark(Lane.L0, What.OTHER, item_in_words(event), event)
        elif vmcs == "01":
            self._mark(Lane.L0, What.TO_L1, "L0 leaves L2: back to vmcs01", event)
        else:
            self._mark(Lane.L0, What.TO_L2, "L0 enters L2: on to vmcs02", event)


def _runs(following: Sequence[Event]) -> bool:
    """Tell whether a VM entry succeeded, by what comes after it."""
    for event in following:
        match _name(event):
            case "vmfail":
                return False
            case "vmexit":
                return not entry_failed(_integer(_arguments(event).get("reason")))
            case "vmentry":
                return True
    return True


def _changes(requests: Sequence[int], events: int) -> dict[int, tuple[int, int]]:
    """Return the requests made and consumed before each event, and after the last one."""
    if len(requests) == events + 2:
        return {
            index: (after & ~before, before & ~after)
            for index, (before, after) in enumerate(pairwise(requests))
            if before != after
        }
    if len(requests) == 2:
        before, after = requests
        changes = {0: (0, before & ~after), events: (after & ~before, 0)}
        return {index: change for index, change in changes.items() if change != (0, 0)}
    return {}


def _name(event: Event) -> str:
    return event if isinstance(event, str) else str(event[0])


def _arguments(event: Event) -> dict[str, int | str | bytes]:
    """Return the arguments of *event* by name; those that shouldn't be there are left out."""
    if isinstance(event, str):
        return {}
    return dict(zip(EVENTS.get(str(event[0]), {}), event[1:], strict=False))


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0
