"""Commands that must answer quickly import no slow module. The direction of imports is checked by import-linter (pyproject.toml)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import masscli

PACKAGE = Path(masscli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(node: ast.AST) -> Iterator[str]:
    """The modules that an `import` anywhere under `node` names."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "relative import"
            module = child.module or ""
            yield from (
                (f"masscli.{alias.name}" for alias in child.names)
                if module == "masscli"
                else (module,)
            )


def top(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.name == "__init__.py"],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_nothing_has_the_name_of_a_module_beside_it(path: Path) -> None:
    """`from package import name` would be the one or the other, by what has been imported before."""
    defined = {
        n.name
        for n in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(n, ast.FunctionDef | ast.ClassDef)
    }
    assert not defined & {p.stem for p in path.parent.iterdir()}


LIGHT_NAMES = ("options.py", "config.py", "recipe.py", "registry.py", "presets.py")
"""Files that help screens need. Importing torch would make each of them answer a second later."""
LIGHT = [
    path
    for path in FILES
    if top(path) in ("core", "text", "metrics", "cli") or path.name in LIGHT_NAMES
]


@pytest.mark.parametrize("path", LIGHT, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_torch_at_module_level(path: Path) -> None:
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            assert not any(name.split(".")[0] == "torch" for name in imports(statement))


def test_the_frame_imports_nothing_heavy() -> None:
    code = "import sys, masscli.cli.app; print(*(m for m in ('torch', 'numpy', 'rich', 'sacrebleu', 'sentencepiece') if m in sys.modules))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == ""
    )


def test_the_help_of_training_imports_no_torch() -> None:
    code = (
        "import sys, masscli.__main__ as m; code = m.run(['pretrain', '--objective', 'mass', '--help']); "
        "print('TORCH' if 'torch' in sys.modules else 'light', code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "Options of mass" in result.stdout
    assert result.stdout.endswith("light 0\n")
