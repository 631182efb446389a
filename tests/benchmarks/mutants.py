"""Inject small faults into masks, losses, search and metrics, and count how many the tests notice.

    python tests/benchmarks/mutants.py --each 12 --seed 1

A fault changes one place of a module: a comparison, an operator, a constant, a condition. It is compiled in a forked
process, which then runs the tests that are named beside the module in `TARGETS`, up to the first that fails. Prints
each fault that no test noticed, and a table.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import io
import os
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

GOLDEN = "contracts/test_golden_losses.py::test_losses_are_the_stored_ones"
"""The test of the losses of whole runs, of which one is for each objective."""

TARGETS: dict[str, tuple[str, ...]] = {
    "masscli.models.masks": (
        "models/test_stacks.py",
        "models/test_models.py",
        "objectives/unilm/test_unilm.py",
    ),
    "masscli.models.loss": (
        "models/test_models.py",
        "objectives/test_objectives.py",
    ),
    "masscli.models.relative_positions": (
        "objectives/masked_lm/test_encoders.py",
        "models/test_stacks.py",
        "models/test_models.py",
        "objectives/unilm/test_unilm.py",
    ),
    "masscli.objectives.shared.masking": (
        "objectives/shared/test_corruption.py",
        "objectives/shared/test_spans.py",
        "objectives/test_pretraining.py",
    ),
    "masscli.objectives.shared.sentence_noise": (
        "objectives/shared/test_corruption.py",
        "objectives/test_noise_options.py",
        "objectives/test_objectives.py",
    ),
    "masscli.objectives.shared.pseudo_masking": ("objectives/unilm/test_unilm.py",),
    "masscli.objectives.shared.segment_pairs": (
        "objectives/shared/test_segment_pairs.py",
    ),
    "masscli.objectives.shared.token_loss": (
        "objectives/test_objectives.py",
        "objectives/masked_lm/test_encoders.py",
    ),
    "masscli.objectives.mass.corruption": ("objectives/mass/test_mass.py",),
    "masscli.objectives.mass.objective": (
        "objectives/mass/test_mass.py",
        "objectives/test_objectives.py",
        f"{GOLDEN}[mass]",
    ),
    "masscli.objectives.denoise.objective": (
        "objectives/test_objectives.py",
        "objectives/test_noise_options.py",
        f"{GOLDEN}[denoise]",
    ),
    "masscli.objectives.masked_lm.mlm": (
        "objectives/masked_lm/test_encoders.py",
        "objectives/test_pretraining.py",
        f"{GOLDEN}[mlm]",
    ),
    "masscli.objectives.masked_lm.tlm": (
        "objectives/masked_lm/test_encoders.py",
        "objectives/test_pretraining.py",
        "objectives/test_objectives.py",
        f"{GOLDEN}[tlm]",
    ),
    "masscli.objectives.masked_lm.paired_lm": (
        "objectives/masked_lm/test_encoders.py",
        "objectives/test_pretraining.py",
        f"{GOLDEN}[albert]",
    ),
    "masscli.objectives.causal_lm.clm": (
        "objectives/test_pretraining.py",
        "objectives/test_objectives.py",
        f"{GOLDEN}[clm]",
    ),
    "masscli.objectives.causal_lm.bert_lm": (
        "objectives/test_pretraining.py",
        "objectives/test_objectives.py",
        f"{GOLDEN}[bert+lm]",
    ),
    "masscli.objectives.electra.objective": (
        "objectives/electra/test_electra.py",
        f"{GOLDEN}[electra]",
    ),
    "masscli.objectives.electra.corruption": ("objectives/electra/test_corruption.py",),
    "masscli.objectives.unilm.corruption": (
        "objectives/unilm/test_corruption.py",
        "objectives/unilm/test_unilm.py",
    ),
    "masscli.objectives.unilm.objective": (
        "objectives/unilm/test_corruption.py",
        "objectives/unilm/test_unilm.py",
        f"{GOLDEN}[unilm]",
    ),
    "masscli.objectives.translate.objective": (
        "objectives/test_objectives.py",
        f"{GOLDEN}[translate]",
    ),
    "masscli.objectives.backtranslate.objective": (
        "objectives/backtranslate/test_backtranslate.py",
        f"{GOLDEN}[backtranslate]",
    ),
    "masscli.objectives.labelled.classify": (
        "objectives/labelled/test_classify.py",
        "objectives/labelled/test_text_objective.py",
    ),
    "masscli.objectives.labelled.regress": (
        "objectives/labelled/test_regress.py",
        "objectives/labelled/test_text_objective.py",
    ),
    "masscli.objectives.labelled.tag": ("objectives/labelled/test_tag.py",),
    "masscli.objectives.labelled.choose": ("objectives/labelled/test_choose.py",),
    "masscli.objectives.extract.span_heads": (
        "objectives/extract/test_span_heads.py",
        "objectives/extract/test_extract.py",
    ),
    "masscli.objectives.extract.span_search": (
        "objectives/extract/test_span_heads.py",
        "objectives/extract/test_extract.py",
    ),
    "masscli.objectives.write.conditional_generation": (
        "objectives/write/test_conditional_generation.py",
        "objectives/write/test_write.py",
    ),
    "masscli.generation.search": (
        "generation/test_beam.py",
        "generation/test_translator.py",
    ),
    "masscli.generation.beam": (
        "generation/test_beam.py",
        "generation/test_translator.py",
    ),
    "masscli.generation.topk": (
        "generation/test_beam.py",
        "generation/test_sampling.py",
    ),
    "masscli.generation.constraints": (
        "generation/test_constraints.py",
        "generation/test_beam.py",
    ),
    "masscli.generation.sampling": ("generation/test_sampling.py",),
    "masscli.generation.hypotheses": (
        "generation/test_beam.py",
        "generation/test_translator.py",
    ),
    "masscli.generation.minimum_risk": ("generation/test_minimum_risk.py",),
    "masscli.generation.lexical": ("generation/test_lexical.py",),
    "masscli.metrics.rouge": ("metrics/test_rouge.py",),
    "masscli.metrics.squad": ("metrics/test_squad.py",),
    "masscli.metrics.stemmer": ("metrics/test_stemmer.py",),
    "masscli.metrics.multi_bleu": ("metrics/test_multi_bleu.py",),
    "masscli.metrics.label_measures": ("metrics/test_measures.py",),
    "masscli.metrics.entities": ("metrics/test_measures.py",),
    "masscli.metrics.corpus_metrics": ("metrics/test_measures.py",),
    "masscli.metrics.accuracy": ("metrics/test_measures.py",),
}
"""Modules, and the tests that should notice faults in them."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Add: ast.Sub,
    ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
SECONDS = 120
"""Processor time after which a fault counts as noticed: it made a loop endless."""


def mutants(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """Yield every fault of a module: its line and kind, and the tree with it."""
    places = [node for node in ast.walk(tree) if isinstance(node, ast.AST)]
    skipped = set(_annotations(tree))
    for number, node in enumerate(places):
        if id(node) in skipped:
            continue
        for kind in _faults(node):
            changed = copy.deepcopy(tree)
            target = [
                other for other in ast.walk(changed) if isinstance(other, ast.AST)
            ][number]
            _apply(target, kind)
            yield (
                f"line {getattr(node, 'lineno', '?')}: {kind}: {ast.unparse(node)[:70]}",
                ast.fix_missing_locations(changed),
            )


def _annotations(tree: ast.Module) -> Iterator[int]:
    """Yield the nodes whose change no test could notice: types, docstrings, decorators and messages of errors."""
    for node in ast.walk(tree):
        ignored: list[ast.AST | None] = []
        if isinstance(node, ast.AnnAssign):
            ignored.append(node.annotation)
        if isinstance(node, ast.arg):
            ignored.append(node.annotation)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            ignored += [node.returns, *node.decorator_list]
        if isinstance(node, ast.ClassDef):
            ignored += node.decorator_list
        if isinstance(node, (ast.Raise, ast.Assert)) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            ignored.append(node)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            ignored.append(node)
        for root in ignored:
            if root is not None:
                yield from (id(inner) for inner in ast.walk(root))


def _faults(node: ast.AST) -> list[str]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPS:
            return ["comparison"]
        case (
            ast.BinOp(op=operator)
            | ast.AugAssign(op=operator)
            | ast.BoolOp(op=operator)
        ) if type(operator) in SWAPS:
            return ["operator"]
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            return ["sign"]
        case ast.Constant(value=bool()):
            return ["truth"]
        case ast.Constant(value=int() | float()):
            return ["constant"]
        case ast.If() | ast.IfExp() | ast.While():
            return ["condition"]
        case ast.Break() | ast.Continue():
            return ["jump"]
    return []


def _apply(node: Any, kind: str) -> None:
    """Change a node in place."""
    if kind == "comparison":
        node.ops = [SWAPS[type(node.ops[0])]()]
    elif kind == "operator":
        node.op = SWAPS[type(node.op)]()
    elif kind == "sign":
        # Twice the same sign, or plus, is none.
        if isinstance(node.op, ast.USub):
            node.op = ast.UAdd()
        else:
            node.operand = ast.UnaryOp(copy.deepcopy(node.op), node.operand)
    elif kind == "truth":
        node.value = not node.value
    elif kind == "constant":
        node.value = node.value + 1
    elif kind == "condition":
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif kind == "jump":
        node.__class__ = ast.Pass


class MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a changed tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> Any:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def is_noticed(name: str, path: Path, tree: ast.Module, tests: Sequence[str]) -> bool:
    """Return whether one of the tests fails with this fault."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(
            resource.RLIMIT_CPU,
            (
                int(time.process_time()) + SECONDS,
                int(time.process_time()) + SECONDS + 5,
            ),
        )
        code = 1
        try:
            code = _run_tests(name, path, tree, tests)
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] != 0


def _run_tests(name: str, path: Path, tree: ast.Module, tests: Sequence[str]) -> int:
    import pytest

    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    sys.meta_path.insert(0, MutantFinder(name, path, tree))
    os.chdir(ROOT)
    with contextlib.redirect_stdout(io.StringIO()):
        options = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-m",
            "not slow and not peer and not corpora",
        ]
        return int(pytest.main([*options, *(f"tests/{test}" for test in tests)]))


def main() -> None:
    """Draw faults for each module, and print what was noticed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--each", type=int, default=10, metavar="N", help="faults for each module"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--module",
        action="append",
        choices=list(TARGETS),
        help="only this module; can be repeated",
    )
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    rows, total, noticed = [], 0, 0
    for name in options.module or TARGETS:
        path = ROOT / (name.replace(".", "/") + ".py")
        tree = ast.parse(path.read_text())
        assert not is_noticed(name, path, tree, TARGETS[name]), (
            f"the tests of {name} fail without any fault"
        )
        every = list(mutants(tree))
        chosen = random.Random(f"{options.seed} {name}").sample(
            every, min(options.each, len(every))
        )
        found = 0
        for label, changed in chosen:
            if is_noticed(name, path, changed, TARGETS[name]):
                found += 1
            else:
                print(f"  not noticed: {name} {label}", flush=True)
        rows.append(
            f"{name:40} {len(every):4} possible {len(chosen):4} tried {found:4} noticed"
        )
        print(rows[-1], flush=True)
        total, noticed = total + len(chosen), noticed + found
    print(f"{'all':40} {total:18} tried {noticed:4} noticed: {noticed / total:.1%}")


if __name__ == "__main__":
    main()
