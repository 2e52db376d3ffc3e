# SPDX-License-Identifier: GPL-2.0-only
"""The import hook: has typeguard instrument a package, without the two gaps that it leaves.

Typeguard skips an annotation whose names are imported under ``TYPE_CHECKING`` only, and one whose
name is also that of an argument or of a local variable (``vmcs12: vmcs12``, a habit of C). So,
before typeguard sees the source of a module,

- the body of ``if TYPE_CHECKING:`` is taken out. It is executed in the module once the outermost
  import is finished, when imports in a circle no longer hurt; until then its names stand for
  anything.
- a name in an annotation that the function itself binds is replaced by an alias, bound in the
  module.

At that same time the classes of the module get checked stores (`typechecks.stores`).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any, Final

from typeguard import TypeguardFinder, install_import_hook

ALIAS: Final = "_type_named_"
"""What the alias of a type begins with."""


@dataclass
class Deferred:
    """What is left to do for a module when the outermost import is finished."""

    imports: list[ast.stmt] = field(default_factory=list)
    """Bodies of ``if TYPE_CHECKING:`` of which annotations need something."""
    names: set[str] = field(default_factory=set)
    """What these bodies bind."""
    aliased: set[str] = field(default_factory=set)
    """Names that need an alias."""
    attributes: dict[str, dict[str, ast.expr]] = field(default_factory=dict)
    """By class, annotations of attributes that are not in the body of the class."""


def _annotations(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield every annotation in *tree*."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(annotation=ast.expr() as annotation):
                yield annotation
            case ast.FunctionDef(returns=ast.expr() as annotation):
                yield annotation
            case ast.AnnAssign(annotation=annotation):
                yield annotation


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _bound(body: Sequence[ast.stmt]) -> set[str]:
    """Return the names that the statements of *body* bind by importing or assigning."""
    names: set[str] = set()
    for node in (node for statement in body for node in ast.walk(statement)):
        match node:
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update((alias.asname or alias.name).partition(".")[0] for alias in aliases)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
    return names


class _Aliases(ast.NodeTransformer):
    """Replaces names in annotations that the function around them binds."""

    def __init__(self) -> None:
        self.aliased: set[str] = set()
        self._own: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        outer = self._own
        arguments = {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
        self._own = outer | arguments | _bound(node.body)
        for annotation in _annotations(node):
            for name in ast.walk(annotation):
                if isinstance(name, ast.Name) and name.id in self._own:
                    self.aliased.add(name.id)
                    name.id = ALIAS + name.id
        self.generic_visit(node)
        self._own = outer
        return node


def _attributes(class_: ast.ClassDef) -> dict[str, ast.expr]:
    """Return the attributes of ``self`` that the methods of *class_* declare.

    Either ``self.name: type = value``, or ``self.name = argument`` with an annotated argument.
    """
    found: dict[str, ast.expr] = {}
    for method in (node for node in class_.body if isinstance(node, ast.FunctionDef)):
        arguments = {argument.arg: argument.annotation for argument in method.args.args}
        for node in ast.walk(method):
            match node:
                case ast.AnnAssign(
                    target=ast.Attribute(value=ast.Name(id="self"), attr=name),
                    annotation=annotation,
                ):
                    found[name] = annotation
                case ast.Assign(
                    targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)],
                    value=ast.Name(id=argument),
                ):
                    known = arguments.get(argument)
                    if known is not None and method.name == "__init__":
                        found.setdefault(name, known)
    return found


def take_deferred(tree: ast.Module) -> Deferred:
    """Take out of *tree* what typeguard would skip, and return what is left to do."""
    deferred = Deferred()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            deferred.attributes[node.name] = _attributes(node)
    used = {name for annotation in _annotations(tree) for name in _names(annotation)}
    body: list[ast.stmt] = []
    for node in tree.body:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=block, orelse=otherwise):
                names = _bound(block)
                if names & used:
                    deferred.names |= names
                    deferred.imports += block
                body += otherwise
            case _:
                body.append(node)
    tree.body = body
    aliases = _Aliases()
    aliases.visit(tree)
    deferred.aliased = aliases.aliased
    return deferred


class _Pending:
    """The modules that wait for the end of the outermost import."""

    def __init__(self) -> None:
        self.depth = 0
        self.modules: list[tuple[ModuleType, Deferred]] = []

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Import something; when nothing else is being imported, finish all the modules."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
        if not self.depth:
            self.finish()

    def finish(self) -> None:
        """Bind the names that were deferred, then check the stores of the classes."""
        from typechecks.stores import guard_stores

        settled: list[tuple[ModuleType, Deferred]] = []
        self.depth += 1
        try:
            while self.modules:
                module, deferred = self.modules.pop(0)
                block = ast.Module(body=deferred.imports, type_ignores=[])
                exec(compile(block, f"<types of {module.__name__}>", "exec"), module.__dict__)
                settled.append((module, deferred))
        finally:
            self.depth -= 1
        for module, deferred in settled:
            for name in deferred.aliased & vars(module).keys():
                setattr(module, ALIAS + name, getattr(module, name))
        for module, deferred in settled:
            guard_stores(module, deferred.attributes)


_pending: Final = _Pending()


class _Loader(SourceFileLoader):
    """Executes the instrumented source of a module."""

    def __init__(self, typeguard_loader: SourceFileLoader) -> None:
        super().__init__(typeguard_loader.name, typeguard_loader.path)
        self._typeguard_loader = typeguard_loader

    def exec_module(self, module: ModuleType) -> None:
        tree = ast.parse(self.get_data(self.path), self.path)
        deferred = take_deferred(tree)
        unknown = deferred.names | {ALIAS + name for name in deferred.aliased}
        vars(module).update(dict.fromkeys(unknown, Any))
        code = self._typeguard_loader.source_to_code(tree, self.path)
        with _pending.importing():
            exec(code, module.__dict__)
            _pending.modules.append((module, deferred))


class _Finder(TypeguardFinder):
    """Finds what typeguard finds, and has `_Loader` load it."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        spec = super().find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader)
        return spec


def install_hook(package: str) -> None:
    """Check the types of *package* and of everything in it, from its next import on."""
    if package in sys.modules:
        raise ImportError(f"{package} has already been imported")
    install_import_hook([package], cls=_Finder)
    with _pending.importing():
        import_module("typechecks.stores")
