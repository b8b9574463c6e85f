"""The rooms of the house: who may import whom, and what a file may contain.

The imports are read from the source by ``ast``, also those inside functions and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

RANKS = {
    "errors": 0,
    "seam": 0,
    "version": 0,
    "url": 1,
    "headers": 1,
    "settings": 1,
    "exchange": 2,
    "lib": 3,
    "protocols": 3,
    "endpoint": 4,
    "delivery": 5,
    "dial": 5,
    "pool": 5,
    "queue": 5,
    "retry": 5,
    "redirect": 5,
    "cookies": 1,
    "auth": 5,
    "body": 5,
    "bodysource": 5,
    "proxy": 5,
    "shortage": 5,
    "stats": 5,
    "sweep": 5,
    "report": 5,
    "histogram": 5,
    "elsewhere": 5,
    "engine": 6,
    "rules": 5,
    "sources": 5,
    "httprequest": 5,
    "script": 7,
    "redisstub": 7,
    "postgresqlstub": 7,
    "sqlitestub": 7,
    "sqlstub": 7,
    "stub": 7,
    "websockets": 7,
    "rpcstubs": 7,
    "verbs": 7,
    "grpcface": 7,
    "grpcplace": 7,
    "grpcstub": 7,
    "mongostub": 7,
    "grpcschema": 7,
    "grpcchannel": 7,
    "clifetch": 7,
    "cli": 7,
    "demo": 7,
    "demodatabases": 7,
    "demoservers": 7,
    "demostages": 7,
    "__main__": 8,
    "__init__": 8,
}
"""The rank of each file of the package, and of its two rooms: a file imports lower ranks, and files of its own rank
as long as there is no ring. ``lib`` and ``protocols`` are siblings that do not know each other."""

IO_MODULES = {"socket", "ssl", "time", "select", "selectors", "asyncio", "threading", "logging", "socketserver"}
"""What a protocol must not touch: it is a machine of bytes, without a socket, a clock, a loop or a log."""

CATCH_ALL = {
    "aquests/lib/loop.py": 3,  # around a handler of a descriptor, around its sends, around a call that was put off
    "aquests/lib/threaded.py": 1,  # the end of a thread
    "aquests/bodysource.py": 1,  # around the user's file or iterable of a body
    "aquests/protocols/postgresql.py": 3,  # around the user's adapters of parameters, and casters of values
    "aquests/protocols/sqlite.py": 1,  # the same
    "aquests/protocols/grpc.py": 1,  # around the deserializer of a user's generated stub
    "aquests/grpcstub.py": 1,  # around a user's mapping that stands for a message
    "aquests/sources.py": 1,  # around the user's lazy source
    "aquests/delivery.py": 1,  # around the user's callback
    "aquests/engine.py": 1,  # around codecs, which may be the user's
}
"""How often ``except Exception`` may stand where: only where a crash of foreign code must not end the run."""

EXITS = {"aquests/delivery.py": 1}
"""Where what leaves a program (``sys.exit()``, Ctrl-C) is held, to be raised when a batch is done: in callbacks."""

CEILING = 600
"""Lines in a file."""

PACKAGE = ROOT / "aquests"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path) -> str:
    """``aquests/lib/loop.py`` is ``lib.loop``, ``aquests/lib/__init__.py`` ``lib.__init__``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(path) for path in FILES}


def imports(tree: ast.AST, module: str) -> Iterator[tuple[str, int]]:
    """Every imported name with its line: absolute dotted names, relative ones resolved to ``aquests.…``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = ["aquests", *module.split(".")][: -node.level]
                base = ".".join([*parent, *([base] if base else [])])
            yield from ((f"{base}.{alias.name}" if base else alias.name, node.lineno) for alias in node.names)


def house_module(name: str) -> str | None:
    """The file of the package that an imported name lies in; None for foreign names, "" for the package itself."""
    if name != "aquests" and not name.startswith("aquests."):
        return None
    parts = name.split(".")[1:]
    while parts:
        for candidate in (".".join(parts), ".".join([*parts, "__init__"])):
            if candidate in MODULES:
                return candidate
        parts.pop()
    return ""


def house_imports(path: Path) -> list[tuple[str, int]]:
    module = module_name(path)
    found = ((house_module(name), line) for name, line in imports(parse(path), module))
    return [(name, line) for name, line in found if name is not None and name != module]


def room(module: str) -> str:
    return module.partition(".")[0]


def rank(module: str) -> int:
    assert room(module) in RANKS, f"{module}: give me a rank"
    return RANKS[room(module)]


def arrow_fault(module: str, target: str) -> str | None:
    """What is wrong when ``module`` imports ``target``; None if nothing."""
    if target == "":
        return "imports the package from inside, or a file that does not exist"
    if rank(target) > rank(module):
        return f"imports upwards: {target}"
    if {room(module), room(target)} == {"lib", "protocols"}:
        return f"imports its sibling {target}"
    return None


by_file = pytest.mark.parametrize("path", FILES, ids=module_name)


def test_there_is_something_to_look_at() -> None:
    assert PACKAGE / "errors.py" in FILES


@by_file
def test_every_file_has_a_rank(path: Path) -> None:
    rank(module_name(path))


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "seam.py"], ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    """The seam names everybody's types and only types: the next test looks at it."""
    module = module_name(path)
    faults = [(line, arrow_fault(module, target)) for target, line in house_imports(path)]
    assert [f"line {line} {fault}" for line, fault in faults if fault] == []


def test_the_seam_imports_types_only() -> None:
    path = PACKAGE / "seam.py"
    tree = parse(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    faults = [f"line {line}: {name}" for name, line in imports(tree, "seam") if house_module(name) is not None]
    assert faults == [], "at run time the seam imports nothing of the house"


def test_there_are_no_rings() -> None:
    arrows = {module_name(path): {name for name, _ in house_imports(path) if name} for path in FILES}
    arrows["seam"] = set()  # types only
    for module in arrows:
        arrows[module].discard(room(module) + ".__init__")  # a room's own front door is no arrow
    ring = find_ring(arrows)
    assert ring is None, " -> ".join(ring or [])


def find_ring(arrows: dict[str, set[str]]) -> list[str] | None:
    """A ring of imports, if there is one."""
    done: set[str] = set()

    def walk(module: str, trail: list[str]) -> list[str] | None:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return None
        for target in sorted(arrows.get(module, ())):
            if ring := walk(target, [*trail, module]):
                return ring
        done.add(module)
        return None

    return next((ring for module in sorted(arrows) if (ring := walk(module, []))), None)


@by_file
def test_protocols_touch_no_io(path: Path) -> None:
    module = module_name(path)
    if room(module) != "protocols":
        return
    faults = [f"line {line}: {name}" for name, line in imports(parse(path), module) if room(name) in IO_MODULES]
    assert faults == []


@by_file
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= CEILING


def catch_alls(tree: ast.AST) -> list[tuple[int, str]]:
    """The bare ``except`` and the ones that name Exception or BaseException."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        names = [kind.id for kind in kinds if isinstance(kind, ast.Name)]
        if node.type is None:
            found.append((node.lineno, "bare"))
        found += [(node.lineno, name) for name in names if name in ("Exception", "BaseException")]
    return found


@by_file
def test_only_two_places_catch_everything(path: Path) -> None:
    found = catch_alls(parse(path))
    allowed = CATCH_ALL.get(path.relative_to(ROOT).as_posix(), 0)
    others = [fault for fault in found if fault[1] != "Exception"]
    assert len(others) == EXITS.get(path.relative_to(ROOT).as_posix(), 0), others
    assert len(found) - len(others) <= allowed, found


@by_file
def test_nothing_is_put_off(path: Path) -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX)\b")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [number for number, text in enumerate(lines, 1) if marks.search(text)] == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tests_do_not_import_each_other(path: Path) -> None:
    """What several need lies in a file of its own: a change of one test is no change of another."""
    names = [name for name, _ in imports(parse(path), "")]
    assert [name for name in names if re.match(r"tests\.(\w+\.)*test_", name)] == []


# --- the examiners examined ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source", "names"),
    [
        ("engine", "import aquests.url", ["aquests.url"]),
        ("engine", "from .url import Url", ["aquests.url.Url"]),
        ("lib.loop", "from ..errors import A, B", ["aquests.errors.A", "aquests.errors.B"]),
        ("lib.loop", "from . import wake", ["aquests.lib.wake"]),
        ("lib.__init__", "from .loop import Loop", ["aquests.lib.loop.Loop"]),
        ("lib.loop", "from .. import engine", ["aquests.engine"]),
        ("url", "def f():\n    import socket", ["socket"]),
        ("url", "if TYPE_CHECKING:\n    from .engine import Engine", ["aquests.engine.Engine"]),
    ],
)
def test_imports_are_read(module: str, source: str, names: list[str]) -> None:
    assert [name for name, _ in imports(ast.parse(source), module)] == names


@pytest.mark.parametrize(
    ("module", "target", "fault"),
    [
        ("errors", "seam", None),
        ("engine", "errors", None),
        ("lib.channel", "lib.loop", None),
        ("errors", "url", "imports upwards: url"),
        ("lib.channel", "engine", "imports upwards: engine"),
        ("protocols.http1", "lib.loop", "imports its sibling lib.loop"),
        ("lib.loop", "protocols.http1", "imports its sibling protocols.http1"),
        ("url", "", "imports the package from inside, or a file that does not exist"),
    ],
)
def test_arrows_are_judged(module: str, target: str, fault: str | None) -> None:
    assert arrow_fault(module, target) == fault


def test_an_unknown_file_needs_a_rank() -> None:
    with pytest.raises(AssertionError, match="surprise: give me a rank"):
        rank("surprise")


@pytest.mark.parametrize(
    ("arrows", "ring"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, None),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, None),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
    ],
)
def test_rings_are_found(arrows: dict[str, set[str]], ring: list[str] | None) -> None:
    assert find_ring(arrows) == ring


@pytest.mark.parametrize(
    ("clause", "found"),
    [
        ("except:", ["bare"]),
        ("except Exception:", ["Exception"]),
        ("except (OSError, BaseException) as e:", ["BaseException"]),
        ("except OSError:", []),
    ],
)
def test_catch_alls_are_found(clause: str, found: list[str]) -> None:
    assert [name for _, name in catch_alls(ast.parse(f"try:\n    f()\n{clause}\n    pass"))] == found
