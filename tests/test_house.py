"""Rules about the code itself. A remark made twice in review becomes a check here."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import grimp
import pytest

from watchkeeper import plugins

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "watchkeeper"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LAYERS = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
FAMILIES = next(layer for layer in LAYERS if "sources" in layer).split(" | ")
PURE = ("contracts", "detectors", "health", "policies", "reports")
MODULES = sorted(SOURCE.rglob("*.py"))
CODE = sorted(
    path
    for folder in ("src", "tests", "benchmarks", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
# Written so that this file does not contain them itself.
LEFTOVERS = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")))
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "types"}
LINES_MAX, FUNCTION_MAX = 400, 60
CLOCKS = {"now", "utcnow", "today", "time_ns", "monotonic", "perf_counter", "getenv", "urandom"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def public(tree: ast.Module) -> list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Top-level classes and functions, and the methods of the classes, without an underscore."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    top = [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]
    classes = [n for n in top if isinstance(n, ast.ClassDef)]
    inside = [n for c in classes for n in c.body if isinstance(n, kinds[1:])]
    return top + [n for n in inside if not n.name.startswith("_")]


def broken(paths: Iterable[Path], rule: Callable[[Path], Iterator[str]]) -> str:
    """What a rule has against each file, a line a remark; one test a rule is read at once."""
    return "\n".join(f"{name(path)}: {remark}" for path in paths for remark in rule(path))


def test_a_module_is_small_and_says_what_it_is():
    def rule(path: Path) -> Iterator[str]:
        tree = parsed(path)
        if not ast.get_docstring(tree):
            yield "a module says in its docstring what it is"
        if path.read_text(encoding="utf-8").count("\n") > LINES_MAX:
            yield f"more than {LINES_MAX} lines: split the file"
        silent = [node.name for node in public(tree) if not ast.get_docstring(node)]
        if silent:
            yield f"without a docstring: {silent}"

    assert not broken(MODULES, rule)


def test_a_function_fits_on_a_screen():
    def rule(path: Path) -> Iterator[str]:
        for node in functions(parsed(path)):
            told = node.body[0] if ast.get_docstring(node) else None
            lines = node.end_lineno - node.lineno + 1
            lines -= told.end_lineno - told.lineno + 1 if told else 0
            if lines > FUNCTION_MAX:
                yield f"{node.name}: {lines} lines, push ifs up and fors down"

    assert not broken(CODE, rule)


def test_nothing_is_left_over():
    def rule(path: Path) -> Iterator[str]:
        source = path.read_text(encoding="utf-8")
        if found := LEFTOVERS.search(source):
            yield f"{found[0]} is banned: do it, or file an issue"
        if path.stem in BANNED_NAMES:
            yield "name the file after what is in it"
        for node in ast.walk(parsed(path)) if "NotImplementedError" in source else ():
            if isinstance(node, ast.Raise) and "NotImplementedError" in ast.unparse(node):
                yield f"line {node.lineno}: a stub"

    assert not broken(CODE, rule)


def test_every_kernel_states_its_choices():
    def rule(path: Path) -> Iterator[str]:
        for node in functions(parsed(path)):
            for text in map(ast.unparse, node.decorator_list):
                if "jit" not in text:
                    continue
                if not text.startswith("numba.njit("):
                    yield f"{node.name}: write @numba.njit(...) in full"
                for choice in ("cache=True", "nogil=True", "fastmath=False"):
                    if choice not in text:
                        yield f"{node.name}: state {choice}"

    assert not broken(MODULES, rule)


def test_pure_code_reads_no_clock_and_draws_no_chance():
    def rule(path: Path) -> Iterator[str]:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Attribute):
                if node.attr in CLOCKS:
                    yield f"line {node.lineno}: time comes as an argument"
                if ast.unparse(node) in ("np.random", "os.environ"):
                    yield f"line {node.lineno}: it comes as an argument"
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id in ("open", "input", "hash"):
                yield f"line {node.lineno}: {called.id} is for the edges"

    assert not broken((one for family in PURE for one in (SOURCE / family).rglob("*.py")), rule)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_in_a_family_is_a_plug_of_its_name(family):
    for kind in plugins.kinds(family):
        plug = plugins.load(family, kind)
        assert plug.__name__.lower() == kind.replace("_", "")
        if plug.__module__.startswith("watchkeeper."):
            assert plug.__module__ == f"watchkeeper.{family}.{kind}"


def test_no_plug_knows_another_plug():
    graph = grimp.build_graph("watchkeeper", cache_dir=None)
    plugs = {
        f"watchkeeper.{family}.{kind}" for family in FAMILIES for kind in plugins.kinds(family)
    }
    for family in FAMILIES:
        package = f"watchkeeper.{family}"
        for module in graph.find_descendants(package):
            known = graph.find_modules_directly_imported_by(module) & plugs - {module}
            assert not known, f"{module} imports {known}: share through a file with an underscore"
        assert not graph.find_modules_directly_imported_by(package) & plugs, "a socket knows none"


def test_imports_point_down():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_map_lists_the_families_in_flow_order():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\w+) +\|", text, re.MULTILINE) == FAMILIES


def test_the_map_lists_the_layers_of_the_import_contract():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = text.split("## Layers")[1].split("\n\n    ")[1].split("\n\n")[0]
    assert [re.split(r"\s{2,}", line.strip())[0] for line in block.splitlines()] == LAYERS


def test_the_error_tree_is_drawn_as_it_is():
    from watchkeeper import errors

    drawn = dict(re.findall(r"^ *[*x+] (\w+) +(WK\d{3})", errors.__doc__ or "", re.MULTILINE))
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert drawn == {kind.__name__: kind.code for kind in classes}
    assert len(set(drawn.values())) == len(drawn)


def test_help_is_there_at_once_because_heavy_packages_are_not_imported():
    probe = (
        "import sys; from watchkeeper.cli import call; call(['--help']);"
        "heavy = {'numba', 'numpy', 'pyarrow', 'pydantic', 'starlette', 'structlog', 'apsw'};"
        "sys.exit(f'imported: {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
