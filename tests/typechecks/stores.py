# SPDX-License-Identifier: GPL-2.0-only
"""Checked stores: attributes, elements of lists, entries of dictionaries, fields of a VMCS.

Typeguard looks at arguments, return values and local variables. The state of a C program lives in
the members of structs, so here every class of a module gets a ``__setattr__`` made from its
annotations (frozen ones, whose attributes are stored once, are checked when they are made). A list
or dictionary that is stored in an attribute becomes a subclass that checks what is stored in it
later; it is equal to the plain one, and becomes a plain one where it is copied or pickled.

A *guard* takes a value that is about to be stored and returns what to store, or raises
`typeguard.TypeCheckError`.
"""

from __future__ import annotations

import ast
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import wraps
from inspect import isclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, SupportsIndex

from typeguard import CollectionCheckStrategy, ForwardRefPolicy, TypeCheckError, check_type

from kvmref.integers import Width
from kvmref.processor.vmcs import Vmcs
from kvmref.processor.vmcs_fields import FIELD_MASKS, VMCS_FIELD_NAMES
from typechecks.widths import width_guard

if TYPE_CHECKING:
    from typing_extensions import Self

Guard = Callable[[object], object]
EntryGuard = Callable[[object, object], tuple[object, object]]


class CheckedList(list[object]):
    """A list whose elements have a guard."""

    def __init__(self, elements: Iterable[object], guard: Guard) -> None:
        super().__init__(guard(element) for element in elements)
        self.guard = guard

    def __setitem__(self, index: SupportsIndex | slice, value: Any) -> None:
        if isinstance(index, slice):
            super().__setitem__(index, [self.guard(element) for element in value])
        else:
            super().__setitem__(index, self.guard(value))

    def append(self, element: object, /) -> None:
        super().append(self.guard(element))

    def insert(self, index: SupportsIndex, element: object, /) -> None:
        super().insert(index, self.guard(element))

    def extend(self, elements: Iterable[object], /) -> None:
        super().extend([self.guard(element) for element in elements])

    def __add__(self, elements: Any, /) -> Any:
        return list(self) + elements

    def __iadd__(self, elements: Any, /) -> Self:
        self.extend(elements)
        return self

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> tuple[type, tuple[list[object]]]:
        return list, (list(self),)


class CheckedDict(dict[object, object]):
    """A dictionary whose entries have a guard."""

    def __init__(self, entries: Mapping[Any, object], guard: EntryGuard) -> None:
        super().__init__(guard(key, value) for key, value in entries.items())
        self.guard = guard

    def __setitem__(self, key: object, value: object, /) -> None:
        super().__setitem__(*self.guard(key, value))

    def setdefault(self, key: object, default: object = None, /) -> object:
        return super().setdefault(*self.guard(key, default))

    def update(self, *sources: Any, **entries: object) -> None:
        for key, value in dict(*sources, **entries).items():
            self[key] = value

    def __or__(self, other: Any, /) -> Any:
        return dict(self) | other

    def __ior__(self, other: Any, /) -> Self:
        self.update(other)
        return self

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> tuple[type, tuple[dict[object, object]]]:
        return dict, (dict(self),)


def _unguarded(value: object) -> object:
    return value


def _of_elements(guard: Guard) -> Guard:
    def guard_list(value: object) -> object:
        if not isinstance(value, list):
            raise TypeCheckError("is not a list")
        checked = CheckedList(value, guard)
        return value if isinstance(value, CheckedList) else checked

    return guard_list


def _of_entries(guard: EntryGuard) -> Guard:
    def guard_dict(value: object) -> object:
        if not isinstance(value, dict):
            raise TypeCheckError("is not a dict")
        checked = CheckedDict(value, guard)
        return value if isinstance(value, CheckedDict) else checked

    return guard_dict


def _of_alternatives(guards: Iterable[Guard]) -> Guard:
    alternatives = tuple(guards)

    def guard_union(value: object) -> object:
        complaints: list[str] = []
        for guard in alternatives:
            try:
                return guard(value)
            except TypeCheckError as error:
                complaints.append(str(error))
        raise TypeCheckError(", ".join(complaints))

    return guard_union


def _of_class(class_: type) -> Guard:
    def guard_instance(value: object) -> object:
        if not isinstance(value, class_):
            raise TypeCheckError(f"is not an instance of {class_.__qualname__}")
        return value

    return guard_instance


def _of_anything_else(annotation: object) -> Guard:
    def guard_type(value: object) -> object:
        check_type(
            value,
            annotation,
            forward_ref_policy=ForwardRefPolicy.ERROR,
            collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS,
        )
        return value

    return guard_type


def guard_for(annotation: Any) -> Guard:
    """Return the guard of what is annotated so; *annotation* is free of forward references."""
    origin: object = typing.get_origin(annotation)
    arguments: tuple[Any, ...] = typing.get_args(annotation)
    if annotation is Any or annotation is Final:
        return _unguarded
    if origin is Final:
        return guard_for(arguments[0])
    if origin is Annotated:
        for extra in arguments[1:]:
            if isinstance(extra, Width):
                return width_guard(extra)
        return guard_for(arguments[0])
    if origin is list:
        return _of_elements(guard_for(arguments[0]))
    if origin is dict:
        key_guard, value_guard = map(guard_for, arguments)
        return _of_entries(lambda key, value: (key_guard(key), value_guard(value)))
    if origin is types.UnionType or origin is typing.Union:
        return _of_alternatives(map(guard_for, arguments))
    if origin is None and isclass(annotation) and not getattr(annotation, "_is_protocol", False):
        return _of_class(annotation)
    return _of_anything_else(annotation)


def _vmcs_field(field: Any, value: Any) -> tuple[object, object]:
    """Guard an entry of `Vmcs.fields`: the field says how wide it is."""
    if field not in FIELD_MASKS:
        raise TypeCheckError(f"is for {field:#x}, which is not a field of a VMCS")
    if not isinstance(value, int) or value & ~FIELD_MASKS[field]:
        raise TypeCheckError(f"is {value:#x}, too wide for {VMCS_FIELD_NAMES[field]}")
    return field, value


_SPECIAL: Final[dict[tuple[type, str], Guard]] = {(Vmcs, "fields"): _of_entries(_vmcs_field)}
"""Guards that know more than the annotation says."""


def _guards(class_: type, attributes: Mapping[str, ast.expr]) -> dict[str, Guard]:
    """Return the guards of the attributes of *class_*, those of its bases included."""
    hints: dict[str, object] = typing.get_type_hints(class_, include_extras=True)
    namespace = vars(__import__(class_.__module__, fromlist=["_"]))
    for name, annotation in attributes.items():
        hints.setdefault(name, eval(ast.unparse(annotation), namespace))
    return {
        name: _SPECIAL.get((class_, name)) or guard_for(hint)
        for name, hint in hints.items()
        if hint is not ClassVar and typing.get_origin(hint) is not ClassVar
    }


def _guarded(class_: type, name: str, guard: Guard, value: object) -> object:
    try:
        return guard(value)
    except TypeCheckError as error:
        error.append_path_element(f"{class_.__qualname__}.{name}")
        raise


def _guard_construction(class_: Any, guards: Mapping[str, Guard]) -> None:
    """Check the attributes of a frozen dataclass when an instance is made."""
    construct = class_.__init__

    @wraps(construct)
    def checked(self: object, *arguments: Any, **keywords: Any) -> None:
        construct(self, *arguments, **keywords)
        for name, guard in guards.items():
            _guarded(class_, name, guard, getattr(self, name))

    class_.__init__ = checked


def _guard_attributes(class_: Any, guards: Mapping[str, Guard]) -> None:
    """Check what is stored in an attribute, whenever it is stored."""
    store = getattr(class_.__setattr__, "__wrapped__", class_.__setattr__)

    @wraps(store)
    def checked(self: object, name: str, value: object) -> None:
        guard = guards.get(name)
        if guard is not None:
            value = _guarded(class_, name, guard, value)
        store(self, name, value)

    class_.__setattr__ = checked


def guard_stores(
    module: types.ModuleType, attributes: Mapping[str, Mapping[str, ast.expr]]
) -> None:
    """Check stores to the instances of every class that *module* defines.

    *attributes* are the annotations that the bodies of the classes do not have, by class.
    """
    for class_ in vars(module).values():
        if not isclass(class_) or class_.__module__ != module.__name__:
            continue
        if issubclass(class_, (Enum, tuple)) or getattr(class_, "_is_protocol", False):
            continue
        guards = _guards(class_, attributes.get(class_.__name__, {}))
        parameters = getattr(class_, "__dataclass_params__", None)
        if parameters is not None and parameters.frozen:
            _guard_construction(class_, guards)
        elif guards:
            _guard_attributes(class_, guards)
