"""Rules about the code itself. A remark made twice in review becomes a check here."""

import ast
import re
import subprocess
import sys
import tomllib
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


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_small_and_says_what_it_is(path):
    source = path.read_text(encoding="utf-8")
    tree = parsed(path)
    assert ast.get_docstring(tree), "a module says in its docstring what it is"
    assert source.count("\n") <= LINES_MAX, f"more than {LINES_MAX} lines: split the file"
    silent = [node.name for node in public(tree) if not ast.get_docstring(node)]
    assert not silent, f"without a docstring: {silent}"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_a_function_fits_on_a_screen(path):
    long = {}
    for node in functions(parsed(path)):
        told = node.body[0] if ast.get_docstring(node) else None
        lines = node.end_lineno - node.lineno + 1
        lines -= told.end_lineno - told.lineno + 1 if told else 0
        if lines > FUNCTION_MAX:
            long[node.name] = lines
    assert not long, f"more than {FUNCTION_MAX} lines, push ifs up and fors down: {long}"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_nothing_is_left_over(path):
    source = path.read_text(encoding="utf-8")
    found = LEFTOVERS.search(source)
    assert not found, f"{found[0]} is banned: do it, or file an issue"
    assert path.stem not in BANNED_NAMES, "name the file after what is in it"
    stubs = [
        node.name
        for node in functions(parsed(path))
        if any(
            isinstance(n, ast.Raise) and "NotImplementedError" in ast.unparse(n)
            for n in ast.walk(node)
        )
    ]
    assert not stubs, f"stubs: {stubs}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_kernel_states_its_choices(path):
    for node in functions(parsed(path)):
        for decorator in node.decorator_list:
            text = ast.unparse(decorator)
            if "jit" not in text:
                continue
            assert text.startswith("numba.njit("), f"{node.name}: write @numba.njit(...) in full"
            for choice in ("cache=True", "nogil=True", "fastmath=False"):
                assert choice in text, f"{node.name}: state {choice}"


@pytest.mark.parametrize(
    "path", [path for family in PURE for path in sorted((SOURCE / family).rglob("*.py"))], ids=name
)
def test_pure_code_reads_no_clock_and_draws_no_chance(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute):
            assert node.attr not in CLOCKS, f"line {node.lineno}: time comes as an argument"
            assert ast.unparse(node) not in ("np.random", "os.environ"), f"line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "input", "hash"), f"line {node.lineno}"


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
