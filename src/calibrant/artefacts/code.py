"""A digest of the code behind a stage, so that a workflow reruns what an edit concerns and nothing else.

Comments, layout and modification times do not count; neither does code that the stage does not import.
Dynamic imports are not seen; package data (templates, style sheets, schemas) has a digest of its own.
"""

import ast
import contextlib
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from calibrant.artefacts.atomic import read_json, write_json
from calibrant.errors import InputError

SOURCE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class _Module:
    digest: str  # of its syntax tree
    imports: tuple[str, ...]  # names that it imports, in full; not all of them are modules


class CodeDigests:
    """Digests of modules below `root`; what was learnt of each file is kept in `memory`.

    Parsing the library takes most of a second, which every job of a cluster would pay anew: a job there starts with
    reading the workflow. The memory is keyed by the files' bytes, so that it is never out of date; `save` writes it.
    """

    def __init__(self, root: Path = SOURCE, memory: Path | None = None) -> None:
        self.root = root
        self._file = memory
        self._modules: dict[str, _Module | None] = {}
        self._known: dict[str, list[object]] = {}
        self._new = False
        if memory is not None and memory.is_file():
            try:
                self._known = dict(read_json(memory))
            except (InputError, TypeError, ValueError):  # it only saves time
                self._known = {}

    def digest(self, module: str) -> str:
        """Digest of `module` and of all modules below the root that it imports, directly or not."""
        trees = "".join(f"{name}:{found.digest}" for name, found in sorted(self._reached(module).items()))
        return hashlib.sha256(trees.encode()).hexdigest()[:12]

    def closure(self, module: str) -> set[str]:
        """Names of the modules below the root that `module` imports at any depth, itself included."""
        return set(self._reached(module))

    def _reached(self, module: str) -> dict[str, _Module]:
        seen: dict[str, _Module] = {}
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name not in seen and (found := self._read(name)) is not None:
                seen[name] = found
                waiting += found.imports
        return seen

    def _read(self, name: str) -> _Module | None:
        if name not in self._modules:
            path = self.root.joinpath(*name.split("."))
            files = (path.with_suffix(".py"), path / "__init__.py")
            file = next((file for file in files if file.is_file()), None)
            self._modules[name] = None if file is None else self._learn(name, file)
        return self._modules[name]

    def _learn(self, name: str, file: Path) -> _Module:
        content = file.read_bytes()
        package = file.name == "__init__.py"
        # a tree's dump differs between versions of Python, and relative imports with the module's place
        about = f"{sys.version_info[:2]} {name} {package}:".encode()
        key = hashlib.sha256(about + content).hexdigest()
        if key not in self._known:
            tree = ast.parse(content)
            self._known[key] = [hashlib.sha256(ast.dump(tree).encode()).hexdigest(), _imports(tree, name, package)]
            self._new = True
        digest, imports = self._known[key]
        assert isinstance(imports, list)
        return _Module(str(digest), tuple(imports))

    def save(self) -> None:
        """Keep what was learnt; a memory that cannot be written costs time only."""
        if self._new and self._file is not None:
            with contextlib.suppress(InputError, OSError):
                write_json(self._file, self._known)
        self._new = False


def data_digest(package: str, root: Path = SOURCE) -> str:
    """Digest of a package's files that are no Python: names and bytes."""
    folder = root.joinpath(*package.split("."))
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")):
        digest.update(f"{file.relative_to(folder).as_posix()}:".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def installed_versions(*packages: str) -> str:
    """`torch 2.13.0, transformers 5.23.0`: what a result depends on besides our own code."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} absent")
    return ", ".join(found)


def _imports(tree: ast.Module, module: str, is_package: bool) -> list[str]:
    names: list[str] = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative: `from . import x` in a.b.c starts at a.b
                package = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    # Importing a.b.c runs a/__init__.py and a/b/__init__.py too.
    found = {".".join(name.split(".")[: depth + 1]) for name in names if name for depth in range(name.count(".") + 1)}
    return sorted(found)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All statements at any depth, without looking into expressions, which import nothing and are most of a tree."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse  # what only a type checker imports is not run
            continue
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, part, ())
