"""The house is as docs/architecture.md draws it: rooms, what each may import, names that occur once."""

import ast
import re
from collections import Counter, defaultdict

import networkx
from support import ROOT

SOURCE = ROOT / "src"
FILES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (SOURCE / "calibrant").rglob("*.py")
}
WHOLE = ("reporting.results", "pruning.methods")  # rooms of several packages
FOUNDATION = "foundation"  # errors.py, system.py, version.py: everybody may import them


def room(module: str) -> str:
    """`calibrant.models.compute.devices` -> `models.compute`."""
    if module in ("calibrant", "calibrant.__main__"):
        return "calibrant"
    parts = module.split(".")[1:]
    parts = parts if FILES[module].name == "__init__.py" else parts[:-1]
    name = ".".join(parts) or FOUNDATION
    return next((whole for whole in WHOLE if f"{name}.".startswith(f"{whole}.")), name)


def imports(module: str) -> set[str]:
    """The modules of the library that a module imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("calibrant"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in FILES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in FILES}
    return found - {module}


def drawn() -> dict[str, tuple[str, set[str]]]:
    """Room -> (its sentence, the rooms that it may import), from the table of the page, from the top down."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*?) ?\|$", page, re.MULTILINE)
    return {name: (sentence, set(re.findall(r"`([\w.]+)`", may))) for name, sentence, may in rows}


def built() -> dict[str, set[str]]:
    """Room -> the rooms that its modules import."""
    edges: dict[str, set[str]] = defaultdict(set)
    for module in FILES:
        edges[room(module)] |= {room(other) for other in imports(module)}
    return {
        name: others - {name, FOUNDATION} for name, others in edges.items() if name not in ("calibrant", FOUNDATION)
    }


def test_rooms_import_what_the_page_says() -> None:
    said = {name: may for name, (_, may) in drawn().items()}
    found = {name: others for name, others in built().items() if name in said or others}
    assert found == said


def test_rooms_import_only_what_stands_below_them() -> None:
    order = list(drawn())
    for name, (_, may) in drawn().items():
        above = [other for other in may if order.index(other) <= order.index(name)]
        assert above == [], name


def test_every_room_says_in_the_page_what_it_says_itself() -> None:
    for name, (sentence, _) in drawn().items():
        text = ast.get_docstring(ast.parse(FILES[f"calibrant.{name}"].read_text(encoding="utf-8")))
        assert text is not None
        assert text.splitlines()[0].rstrip(".") == sentence.rstrip("."), name


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = networkx.DiGraph([(module, other) for module in FILES for other in imports(module)])
    circles = [sorted(circle) for circle in networkx.strongly_connected_components(graph) if len(circle) > 1]
    assert circles == []


def test_a_module_name_says_one_thing() -> None:
    names = Counter(path.name for path in FILES.values() if not path.name.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_importing_calibrant_changes_and_loads_nothing() -> None:
    """What the library says of itself is there; what it needs comes when it is asked for."""
    light = imports("calibrant") - {"calibrant.version"}
    tree = ast.parse(FILES["calibrant"].read_text(encoding="utf-8"))
    run = [node for node in tree.body if not isinstance(node, ast.If)]  # the rest is for type checkers
    loaded = {node.module for node in run if isinstance(node, ast.ImportFrom)}
    assert light
    assert loaded == {"typing", "calibrant.version"}
