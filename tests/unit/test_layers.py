"""The import direction of src/gamaml, read from its source; nothing is imported here."""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "gamaml"

ORDER = (
    ("errors", "types"),
    ("config",),
    ("evolution",),
    ("job",),
    ("envs", "policies"),
    ("rollouts",),
    ("inner",),
    ("problems",),
    ("tasks",),
    ("parallel",),
    ("runlog",),
    ("engine",),
    ("api",),
    ("slurm",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
"""From the lowest layer to the highest: folders, and the files beside them. A module imports from rows above its own,
and from its own folder."""

ROW = {name: row for row, names in enumerate(ORDER) for name in names}

ALLOWED = {
    # The rest of `parallel` takes windows and communicators as arguments, so that its tests need no MPI.
    "mpi4py": (
        "job.mpi_library",
        "parallel.heartbeat",
        "parallel.noise_window",
        "parallel.probe",
        "parallel.topology",
        "parallel.windows",
    ),
    "h5py": ("runlog",),
    "matplotlib": ("commands.pictures",),
    "rich": ("commands.progress",),
    "jax": ("inner", "rollouts", "policies", "tasks"),
    "ale_py": ("envs",),
    "argparse": ("cli", "commands"),
}
"""The only folders and modules that import these libraries."""


@dataclass(frozen=True)
class Import:
    target: str
    line: int


def modules() -> dict[str, Path]:
    """Return dotted name below gamaml -> file, the package's own __init__ left out: it only re-exports."""
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]
    return {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in paths}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(node: ast.AST) -> Iterator[Import]:
    """Yield what is imported when the code runs, in functions too."""
    if is_type_checking(node):
        return
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: relative import"
        if node.module == "gamaml":
            yield from (Import(f"gamaml.{alias.name}", node.lineno) for alias in node.names)
        else:
            yield Import(node.module or "", node.lineno)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "import_module":
        if isinstance(node.args[0], ast.Constant):  # a library that need not be installed
            yield Import(str(node.args[0].value), node.lineno)
    for child in ast.iter_child_nodes(node):
        yield from imports(child)


def reads(node: ast.AST, module: str, *attributes: str) -> Iterator[int]:
    """Yield the lines that use `module.attribute`."""
    for found in ast.walk(node):
        if isinstance(found, ast.Attribute) and found.attr in attributes:
            if isinstance(found.value, ast.Name) and found.value.id == module:
                yield found.lineno


def defined(tree: ast.Module) -> set[str]:
    """Return the names that a package has: imported, assigned, defined and listed in `__all__`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.add(node.targets[0].id)
            if node.targets[0].id == "__all__":
                names |= set(ast.literal_eval(node.value))
    return names


MODULES = modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def top(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_has_a_place_in_the_order() -> None:
    assert {top(name) for name in MODULES} == set(ROW)


def test_contributing_shows_this_order() -> None:
    lines = (SOURCE.parents[1] / "CONTRIBUTING.md").read_text().splitlines()
    first = lines.index("| layer | holds |") + 2
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[first:])
    shown = tuple(tuple(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table)
    assert shown == tuple(names for names in reversed(ORDER) if names != ("__main__",))


def test_no_two_modules_share_a_name() -> None:
    names = Counter(name.rpartition(".")[2] for name in MODULES)
    assert [name for name, number in names.items() if number > 1 and name != "__init__"] == []


@pytest.mark.parametrize("package", [SOURCE, *(path for path in SOURCE.iterdir() if (path / "__init__.py").exists())])
def test_no_package_has_a_name_that_hides_its_module(package: Path) -> None:
    children = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert defined(ast.parse((package / "__init__.py").read_text())) & children == set()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_the_layers_only(module: str) -> None:
    for found in imports(TREES[module]):
        if found.target.startswith("gamaml."):
            target = found.target.split(".")[1]
            where = f"{module}:{found.line} imports {found.target}"
            assert target in ROW, f"{where}: not a module"
            assert target == top(module) or ROW[target] < ROW[top(module)], f"{where}: not below it"


@pytest.mark.parametrize("library", ALLOWED)
def test_a_library_is_imported_by_its_owners_only(library: str) -> None:
    users = {name for name, tree in TREES.items() for found in imports(tree) if top(found.target) == library}
    assert {name for name in users if not {name, top(name)} & set(ALLOWED[library])} == set()


def test_the_tops_of_modules_import_no_jax_but_where_it_is_at_home() -> None:
    # Whatever is needed to name, check or list a task runs before JAX may start.
    light = (
        "policies.cnn",
        "policies.flat",
        "policies.gru",
        "policies.recurrent",
        "policies.tcn",
        "policies.vector",
        "problems.registry",
        "problems.task_kinds",
        "problems.__init__",
        "problems.jax_problem",
        "problems.complete_problem",
        "problems.host_environments",
        "problems.host_problem",
        "inner.rounds",
        "inner.host_loop",
        "inner.host_updates",
        "rollouts.host_rollout",
        "rollouts.lockstep_rollout",
        "rollouts.trajectory",
    )
    for name in light:
        statements = [node for node in TREES[name].body if isinstance(node, ast.Import | ast.ImportFrom)]
        targets = [top(found.target) for node in statements for found in imports(node)]
        assert "jax" not in targets, name


def test_argv_is_read_by_the_command_line_only() -> None:
    users = {top(name) for name, tree in TREES.items() if list(reads(tree, "sys", "argv"))}
    assert users <= {"cli"}


def test_environment_variables_are_read_at_the_edges_only() -> None:
    users = {top(name) for name, tree in TREES.items() if list(reads(tree, "os", "environ", "getenv", "putenv"))}
    # JAX takes its number of threads and its platform from the environment, so `inner` has to set them there; `envs`
    # gives another interpreter what it inherits of the environment.
    assert users <= {"commands", "job", "parallel", "inner", "envs"}


def test_only_the_console_prints() -> None:
    def prints(tree: ast.AST) -> bool:
        names = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        return any(isinstance(name, ast.Name) and name.id == "print" for name in names)

    assert {name for name, tree in TREES.items() if prints(tree)} == {"commands.console"}


@pytest.mark.parametrize("module", MODULES)
def test_no_exception_is_swallowed_whole(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ExceptHandler):
            name = node.type.id if isinstance(node.type, ast.Name) else ""
            everything = node.type is None or name in ("Exception", "BaseException")
            silent = all(isinstance(statement, ast.Pass) for statement in node.body)
            assert node.type is not None, f"{module}:{node.lineno}: bare except"
            assert not (everything and silent), f"{module}:{node.lineno}: a swallowed exception"


def test_no_module_uses_numpys_global_random_state() -> None:
    allowed = {"Generator", "SFC64", "SeedSequence"}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                if node.value.attr == "random" and isinstance(node.value.value, ast.Name):
                    if node.value.value.id == "np":
                        assert node.attr in allowed, f"{name}:{node.lineno}: np.random.{node.attr}"
