"""A digest of the code behind a stage, so that a workflow reruns what an edit concerns and nothing else.

Comments, layout and modification times do not count; neither does code that the stage does not import.
Dynamic imports are not seen; package data (templates, style sheets, schemas) has a digest of its own.
"""

import ast
import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]


@functools.cache
def code_digest(module: str, root: Path = SOURCE) -> str:
    """Digest of the syntax trees of `module` and of all modules below `root` that it imports, directly or not."""
    trees = "".join(
        f"{name}:{ast.dump(tree)}" for name in sorted(closure(module, root)) if (tree := _parse(name, root))
    )
    return hashlib.sha256(trees.encode()).hexdigest()[:12]


def data_digest(package: str, root: Path = SOURCE) -> str:
    """Digest of a package's files that are no Python: names and bytes."""
    folder = root.joinpath(*package.split("."))
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")):
        digest.update(f"{file.relative_to(folder).as_posix()}:".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def closure(module: str, root: Path = SOURCE) -> set[str]:
    """Names of the modules below `root` that `module` imports at any depth, itself included."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or _parse(name, root) is None:
            continue
        seen.add(name)
        waiting += _imports(name, root)
    return seen


def installed_versions(*packages: str) -> str:
    """`torch 2.13.0, transformers 5.23.0`: what a result depends on besides our own code."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} absent")
    return ", ".join(found)


def _imports(module: str, root: Path) -> list[str]:
    tree = _parse(module, root)
    assert tree is not None
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative: `from . import x` in a.b.c starts at a.b
                package = module.split(".") if _is_package(module, root) else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    # Importing a.b.c runs a/__init__.py and a/b/__init__.py too.
    return [".".join(name.split(".")[: depth + 1]) for name in names if name for depth in range(name.count(".") + 1)]


@functools.cache
def _parse(module: str, root: Path) -> ast.Module | None:
    path = root.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return ast.parse(file.read_text(encoding="utf-8"))
    return None


def _is_package(module: str, root: Path) -> bool:
    return root.joinpath(*module.split("."), "__init__.py").is_file()
