"""The house: each floor imports only from those below it, and the light ones import no jax."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    {"kernels_pallas", "jaxlin.config"},
    {"jaxlin.adapters"},
    {"jaxlin.projections"},
    {"jaxlin.nn"},
    {"jaxlin.mixers"},
    {"jaxlin.models"},
    {"jaxlin.parallel", "jaxlin.data"},
    {"jaxlin.train", "jaxlin.evals", "jaxlin.convert", "jaxlin.analysis"},
    {"jaxlin.study", "jaxlin.launch"},
    {"jaxlin.cli", "configs", "experiments"},
]
HEIGHT = {name: i for i, floor in enumerate(FLOORS) for name in floor}
# The one look upwards: presets are found by name in the package of presets.
ALLOWED = {("jaxlin/config/presets.py", "configs")}


def floor_of(module: str) -> str | None:
    parts = module.split(".")
    return next((n for n in (".".join(parts[:2]), parts[0]) if n in HEIGHT), None)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources() -> list[Path]:
    return [
        p
        for top in ("kernels_pallas", "jaxlin", "configs", "experiments")
        for p in (ROOT / top).rglob("*.py")
    ]


def violations(path: Path) -> list[str]:
    name = path.relative_to(ROOT).as_posix()
    own = floor_of(name.removesuffix(".py").replace("/", "."))
    if own is None:
        return []
    above = [
        module
        for module in imports(path)
        if (other := floor_of(module)) is not None
        and HEIGHT[other] > HEIGHT[own]
        and (name, other) not in ALLOWED
    ]
    return [f"{name} imports {module}" for module in above]


def test_no_floor_imports_from_above():
    assert [line for path in sources() for line in violations(path)] == []


def test_a_look_upwards_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    bad = tmp_path / "jaxlin" / "nn" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("def f():\n    from jaxlin.models import lm\n    return lm\n")
    assert violations(bad)


def test_kernels_stand_alone():
    theirs = {
        module.split(".")[0]
        for path in (ROOT / "kernels_pallas").rglob("*.py")
        for module in imports(path)
    }
    allowed = {"jax", "jaxtyping", "numpy", "kernels_pallas"} | set(sys.stdlib_module_names)
    assert theirs <= allowed


@pytest.mark.parametrize("statement", ["import jaxlin", "import jaxlin.config", "import configs"])
def test_light_imports_load_no_jax(statement):
    heavy = ("jax", "flax", "orbax", "grain")
    code = f"import sys; {statement}; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_no_pickle_eval_or_exec():
    bad = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("eval", "exec"):
                    bad.append(f"{path}:{node.lineno}")
        if imports(path) & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}:
            bad.append(str(path))
    assert bad == []
