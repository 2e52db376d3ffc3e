# SPDX-License-Identifier: GPL-2.0-only
"""An adapter for kvmref in Python: a very small model of nested VMX behind the wire protocol.

Nothing but the standard library is needed:

    kvmref smoke --implementation "python3 adapter.py"
    kvmref check --implementation "python3 adapter.py"

The class `Model` is what is tested; put yours in its place. `main` and `answer` are the protocol,
spec/protocol.md. This model knows the immediate exit, which the one in C doesn't; it knows little
else: VMXON, VMPTRLD, VMLAUNCH, VMRESUME, and which exits of L2 are L1's. What it doesn't do it
answers as unsupported, or gets wrong.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from typing import Any

Message = dict[str, Any]
"""An object of JSON."""

VALID = 1 << 31
ARITHMETIC_FLAGS, ZF, IF = 0x8D5, 0x40, 0x200
NO_VMCS = 2**64 - 1
EXTERNAL_INTERRUPT, HLT, VMPTRLD, VMLAUNCH, VMRESUME, VMXON = 1, 12, 21, 20, 24, 27
FOR_L0 = {0, EXTERNAL_INTERRUPT, 41, 48, 49}
"""Exits of L2 that L1 never sees: exceptions (not quite), interrupts, machine checks, EPT."""

EXIT_FIELDS = {
    "vm_exit_reason": "reason",
    "exit_qualification": "qual",
    "vm_exit_intr_info": "intr_info",
    "vm_exit_intr_error_code": "intr_err",
    "vm_exit_instruction_len": "len",
}
MEMBERS = [*EXIT_FIELDS, "vm_entry_intr_info_field", "guest_rip", "launch_state"]
KEYS = ["nested.vmxon", "nested.guest_mode", "nested.current_vmptr", "irr", "rip", "rflags"]
KEYS += [f"vmcs12.{name}" for name in MEMBERS]
STEPS = ["enter", "exit", "irq", "mem", "reg", "vmcs12"]


class UnsupportedError(Exception):
    """The model doesn't do such a step."""


def bits(value: str | int) -> int:
    """Return a bit pattern, which is a string on the wire."""
    return int(value, 16) if isinstance(value, str) else value


class Model:
    """L0, with the state that L1 can see."""

    def __init__(self, config: Message) -> None:
        """Let L1 start as *config* says; nothing else of it matters here."""
        self.rip, self.rflags = bits(config["l1_rip"]), bits(config["l1_rflags"])
        self.l1_rflags = self.rflags
        self.vmxon = self.in_l2 = self.must_run = self.immediate_exit = False
        self.current = NO_VMCS
        self.irr: set[int] = set()
        self.memory: dict[int, int] = {}
        self.vmcss: dict[int, dict[str, int]] = {}
        self.outcomes: deque[Message] = deque()

    def step(self, step: Message) -> None:
        """Do *step*."""
        match step:
            case {"op": "irq", "vector": vector} if not step.get("noreq"):
                self.irr.add(vector)
            case {"op": "exit"} if "fail" not in step:
                self.outcomes.append(step)
            case {"op": "mem", "gpa": gpa, "value": value}:
                self.memory[bits(gpa)] = bits(value)
            case {"op": "reg", "regs": {"rflags": rflags}}:
                self.rflags = bits(rflags)
            case {"op": "reg"}:
                pass
            case {"op": "vmcs12", "gpa": gpa}:
                members = self.vmcss.setdefault(bits(gpa), {})
                if step.get("zero"):
                    members.clear()
                members.update((k, bits(v)) for k, v in step.get("fields", {}).items())
            case {"op": "enter"}:
                self.enter()
            case _:
                raise UnsupportedError

    def enter(self) -> None:
        """Do what L0 does between two looks at the world: events, one run of a guest, its exit."""
        interrupt: Message = {"reason": EXTERNAL_INTERRUPT}
        if self.irr:
            wanted = self.in_l2 and self.member("pin_based_vm_exec_control") & 1
            if wanted and self.must_run and not self.immediate_exit:
                # L2 has to run first. Go around once more, with an interrupt to oneself.
                self.immediate_exit = True
                return
            if wanted and not self.must_run:
                self.exit_to_l1(interrupt)
            if self.rflags & IF and not (wanted and self.in_l2):
                self.irr.remove(max(self.irr))
            if wanted and not self.in_l2:
                return
        outcome = interrupt
        if self.outcomes and (not self.immediate_exit or self.outcomes[0].get("force")):
            outcome = self.outcomes.popleft()
        self.must_run = self.immediate_exit = False
        fields = outcome.get("fields", {})
        self.rip = bits(fields.get("GUEST_RIP", self.rip))
        self.rflags = bits(fields.get("GUEST_RFLAGS", self.rflags))
        reason = bits(outcome.get("reason", EXTERNAL_INTERRUPT)) & 0xFFFF
        hlt_exits = self.in_l2 and self.member("cpu_based_vm_exec_control") & 1 << 7
        if self.in_l2 and reason not in FOR_L0 and (reason != HLT or hlt_exits):
            self.exit_to_l1(outcome)
            return
        if reason not in FOR_L0:
            self.rip += bits(outcome.get("len", 0))
        if not self.in_l2:
            self.execute(reason, bits(outcome.get("qual", 0)))

    def execute(self, reason: int, displacement: int) -> None:
        """Execute the VMX instruction of L1 that has exited."""
        if reason == VMXON:
            self.vmxon = True
        elif reason == VMPTRLD and self.vmxon:
            self.current = self.memory.get(displacement, 0)
            self.vmcss.setdefault(self.current, {})
            self.rflags &= ~ARITHMETIC_FLAGS
        elif reason in (VMLAUNCH, VMRESUME) and self.current != NO_VMCS:
            vmcs = self.vmcss[self.current]
            if vmcs.get("launch_state", 0) == (reason == VMLAUNCH):
                self.rflags = self.rflags & ~ARITHMETIC_FLAGS | ZF
                return
            vmcs["launch_state"] = 1
            self.in_l2 = self.must_run = True
            self.l1_rflags = self.rflags
            self.rip, self.rflags = self.member("guest_rip"), self.member("guest_rflags")

    def exit_to_l1(self, outcome: Message) -> None:
        """Leave L2 for L1, and tell L1 why."""
        vmcs = self.vmcss[self.current]
        for name, argument in EXIT_FIELDS.items():
            vmcs[name] = bits(outcome.get(argument, 0))
        vmcs["vm_entry_intr_info_field"] = self.member("vm_entry_intr_info_field") & ~VALID
        vmcs["guest_rip"], vmcs["guest_rflags"] = self.rip, self.rflags
        self.in_l2 = False
        self.rip, self.rflags = self.member("host_rip"), self.l1_rflags

    def member(self, name: str) -> int:
        """Return a member of L1's current VMCS."""
        return self.vmcss[self.current].get(name, 0)

    def observe(self, key: str) -> object:
        """Return what *key* shows, as it is written on the wire."""
        match key:
            case "irr":
                return sorted(self.irr)
            case "nested.vmxon":
                return int(self.vmxon)
            case "nested.guest_mode":
                return int(self.in_l2)
            case "nested.current_vmptr":
                return hex(self.current)
            case "rip" | "rflags":
                return hex(getattr(self, key))
        return None if self.current == NO_VMCS else hex(self.member(key.removeprefix("vmcs12.")))


def answer(model: Model | None, request: Message) -> tuple[Model | None, Message]:
    """Return the model after *request*, and the members of the answer."""
    match request:
        case {"request": "hello", "protocol": 1}:
            hello = {"protocol": 1, "name": "small nested model in Python", "version": "1"}
            return model, {**hello, "kernels": ["3.3"], "keys": KEYS, "steps": STEPS}
        case {"request": "reset", "config": config}:
            return Model(config), {}
        case {"request": "step", "step": step} if model is not None:
            try:
                model.step(step)
            except UnsupportedError:
                return model, {"unsupported": True}
            return model, {}
        case {"request": "observe", "keys": keys} if model is not None:
            values = {key: model.observe(key) for key in keys if key in KEYS}
            return model, {"values": values, "unknown": [k for k in keys if k not in KEYS]}
        case {"request": "bye"}:
            return model, {}
    raise ValueError("not a request that can be met now")


def main() -> None:
    """Answer line by line until it is time to say goodbye."""
    model: Model | None = None
    for line in sys.stdin:
        number = name = None
        try:
            request = json.loads(line)
            number, name = request["id"], request["request"]
            model, members = answer(model, request)
            reply = {"id": number, "answer": name, **members}
        except (ValueError, KeyError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
            reply = {"id": number, "answer": "error", "problem": problem}
        print(json.dumps(reply), flush=True)
        if name == "bye":
            break


if __name__ == "__main__":
    main()
