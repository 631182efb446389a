"""Inject small faults into masks, losses, search and metrics, and count how many the tests notice.

    python tests/benchmarks/mutants.py --each 12 --seed 1

A fault changes one place of a module: a comparison, an operator, a constant, a condition. Each is tried in a forked
process, which runs the tests that call the changed function, the fastest first, up to the first that fails. Prints each
fault that no test noticed, and a table.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import gc
import importlib
import io
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple, cast

import pytest
from _pytest.nodes import Node
from _pytest.runner import runtestprotocol

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

MODULES = (
    "masscli.models.masks",
    "masscli.models.loss",
    "masscli.models.relative_positions",
    "masscli.objectives.shared.masking",
    "masscli.objectives.shared.sentence_noise",
    "masscli.objectives.shared.pseudo_masking",
    "masscli.objectives.shared.pair_maker",
    "masscli.objectives.shared.segment_pairs",
    "masscli.objectives.shared.token_loss",
    "masscli.objectives.mass.corruption",
    "masscli.objectives.mass.objective",
    "masscli.objectives.denoise.objective",
    "masscli.objectives.masked_lm.mlm",
    "masscli.objectives.masked_lm.tlm",
    "masscli.objectives.masked_lm.paired_lm",
    "masscli.objectives.causal_lm.clm",
    "masscli.objectives.causal_lm.bert_lm",
    "masscli.objectives.electra.collator",
    "masscli.objectives.electra.objective",
    "masscli.objectives.electra.corruption",
    "masscli.objectives.unilm.corruption",
    "masscli.objectives.unilm.objective",
    "masscli.objectives.translate.objective",
    "masscli.objectives.backtranslate.objective",
    "masscli.objectives.labeled.classify",
    "masscli.objectives.labeled.regress",
    "masscli.objectives.labeled.tag",
    "masscli.objectives.labeled.choose",
    "masscli.objectives.extract.span_heads",
    "masscli.objectives.extract.span_search",
    "masscli.objectives.write.conditional_generation",
    "masscli.generation.search",
    "masscli.generation.beam",
    "masscli.generation.topk",
    "masscli.generation.constraints",
    "masscli.generation.sampling",
    "masscli.generation.hypotheses",
    "masscli.generation.minimum_risk",
    "masscli.generation.constrained_beam",
    "masscli.metrics.rouge",
    "masscli.metrics.squad",
    "masscli.metrics.stemmer",
    "masscli.metrics.multi_bleu",
    "masscli.metrics.label_measures",
    "masscli.metrics.entities",
    "masscli.metrics.corpus_metrics",
    "masscli.metrics.accuracy",
)
"""What faults are injected into."""
TESTS = (
    "models",
    "objectives",
    "generation",
    "metrics",
    "contracts/test_golden_losses.py",
)
"""The tests that should notice faults, in tests/."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Add: ast.Sub,
    ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


PLAIN = (bool, int, float, str, tuple, dict, frozenset)
"""Types of constants that a fault may change."""


class Fault(NamedTuple):
    """A place of a module and what is changed there."""

    module: str
    number: int
    """Of the node, in the order of `ast.walk`."""
    kind: str
    label: str

    def tree(self) -> ast.Module:
        """Return the module with this fault."""
        changed = copy.deepcopy(parsed(self.module))
        _apply(list(ast.walk(changed))[self.number], self.kind)
        return ast.fix_missing_locations(changed)


def source_path(module: str) -> Path:
    """Return the file of a module of masscli."""
    return ROOT / (module.replace(".", "/") + ".py")


def parsed(module: str) -> ast.Module:
    """Return the syntax tree of a module of masscli."""
    return ast.parse(source_path(module).read_text())


def faults(module: str) -> list[Fault]:
    """Return every fault of a module."""
    tree = parsed(module)
    skipped = set(_annotations(tree))
    return [
        Fault(
            module,
            number,
            kind,
            f"line {getattr(node, 'lineno', '?')}: {kind}: {ast.unparse(node)[:70]}",
        )
        for number, node in enumerate(ast.walk(tree))
        if id(node) not in skipped
        for kind in _faults(node)
    ]


def _annotations(tree: ast.Module) -> Iterator[int]:
    """Yield the nodes whose change no test could notice: types, docstrings, decorators, messages of errors, and the
    checks of zip."""
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
        if isinstance(node, ast.keyword) and node.arg == "strict":
            ignored.append(node)
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


def outer_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    """Return the functions and methods of a module, without those inside another function."""
    found: list[ast.FunctionDef] = []
    for node in tree.body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        found += [member for member in members if isinstance(member, ast.FunctionDef)]
    return found


def first_line(function: ast.FunctionDef) -> int:
    """Return the line of a function's first decorator, or else of its `def`, as its code object names it."""
    return min([function.lineno, *(node.lineno for node in function.decorator_list)])


def changed_function(fault: Fault) -> int | None:
    """Return the first line of the function whose body a fault changes; None if it changes what an import does."""
    tree = parsed(fault.module)
    place = list(ast.walk(tree))[fault.number]
    for function in outer_functions(tree):
        for statement in function.body:
            if any(node is place for node in ast.walk(statement)):
                return first_line(function)
    return None


def install(fault: Fault) -> None:
    """Change an imported module in place, so that it is as if it had been imported with a fault."""
    path = str(source_path(fault.module))
    code = compile(fault.tree(), path, "exec")
    if changed_function(fault) is None:
        _install_definitions(fault.module, code)
        return
    codes: dict[tuple[str, int], CodeType] = {}
    waiting = [code]
    while waiting:
        code = waiting.pop()
        codes[code.co_qualname, code.co_firstlineno] = code
        waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    # Some objects of torch warn when they are asked for their class.
    functions = [each for each in gc.get_objects() if type(each) is FunctionType]
    for function in functions:
        if function.__code__.co_filename == path:
            old = function.__code__
            function.__code__ = codes[old.co_qualname, old.co_firstlineno]


def _install_definitions(name: str, code: CodeType) -> None:
    """Give an imported module the constants, class attributes and default arguments of other code."""
    namespace: dict[str, Any] = {"__name__": name}
    try:
        exec(code, namespace)
    except Exception as error:
        raise ImportError(name) from error
    old_values = dict(vars(sys.modules[name]))
    for key, new in namespace.items():
        old = old_values.get(key)
        if isinstance(new, type) and new.__module__ == name:
            for attribute, value in vars(new).items():
                if isinstance(value, FunctionType):
                    _copy_defaults(vars(old)[attribute], value)
                elif isinstance(value, PLAIN) and not attribute.startswith("__"):
                    setattr(old, attribute, value)
        elif isinstance(new, FunctionType) and new.__module__ == name:
            _copy_defaults(old, new)
        elif isinstance(new, PLAIN) and new != old:
            # Other modules may have imported the constant.
            for module in list(sys.modules.values()):
                if vars(module).get(key) is old and module.__name__[:7] == "masscli":
                    setattr(module, key, new)


def _copy_defaults(old: Any, new: FunctionType) -> None:
    old.__defaults__ = new.__defaults__
    old.__kwdefaults__ = new.__kwdefaults__


def limit_processor_time(seconds: float) -> None:
    """End this process, as one that failed, after so many seconds of processor time."""
    limit = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))


def in_fork(work: Callable[[], Any]) -> Any:
    """Return what a function returns in a forked process, as JSON; None if a signal ends that process, such as of a time limit."""
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                answer.write(json.dumps(work()).encode())
                answer.flush()
                status = 0
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(status)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            return None
        assert status == 0, "an error of this program itself, not of a test"
        answer.seek(0)
        return json.loads(answer.read())


class Measured(NamedTuple):
    """What is known of a test without any fault."""

    seconds: float
    """Of processor time, with the fixtures that it was the first to need."""
    calls: list[str]
    """The functions of the modules that it calls, as MODULE:FIRST LINE."""


class FaultRunner:
    """A plugin of pytest that runs the tests which reach each fault, instead of every test once."""

    def __init__(self, chosen: Sequence[Fault], seconds: float) -> None:
        self.chosen, self.seconds = chosen, seconds
        self.noticed: dict[Fault, bool] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure the tests, then try each fault."""
        modules = {fault.module for fault in self.chosen}
        for module in modules:
            importlib.import_module(module)
        _make_shared_folders(session.items)
        measured = in_fork(lambda: measure(session.items, modules))
        assert measured is not None, "a test fails without any fault"
        for fault in self.chosen:
            tests = self.reaching(fault, session.items, measured)
            limit = 5 + 2 * sum(measured[item.nodeid][0] for item in tests)
            self.noticed[fault] = bool(tests) and not in_fork(
                lambda: passes(fault, tests, limit)  # noqa: B023
            )
            if not self.noticed[fault]:
                print(
                    f"  not noticed: {fault.module} {fault.label} ({len(tests)} tests)",
                    file=sys.__stderr__,
                    flush=True,
                )
        return True

    def reaching(
        self, fault: Fault, items: Sequence[pytest.Item], measured: dict[str, Any]
    ) -> list[pytest.Item]:
        """Return the tests that call the changed function, the fastest first, as many as there is time for."""
        # What an import defines may matter to every function of the module.
        line = changed_function(fault)
        reached = f"{fault.module}:" if line is None else f"{fault.module}:{line}"
        tests = [
            item
            for item in items
            if any(_is_at(call, reached) for call in measured[item.nodeid][1])
        ]
        tests.sort(key=lambda item: measured[item.nodeid][0])
        spent = 0.0
        kept: list[pytest.Item] = []
        for item in tests:
            spent += measured[item.nodeid][0]
            if not kept or spent < self.seconds:
                kept.append(item)
        return kept


def _is_at(call: str, place: str) -> bool:
    """Return whether a function, as MODULE:FIRST LINE, is a place, or in it if this is a module."""
    return call == place or (place.endswith(":") and call.startswith(place))


def _make_shared_folders(items: Sequence[pytest.Item]) -> None:
    """Run a test for each fixture of the session, which forked processes then inherit."""
    for name in ("toy", "labeled"):
        users = [item for item in items if name in getattr(item, "fixturenames", ())]
        if users:
            found = failures(users[0], users[0].session)
            assert not found, found


def failures(item: pytest.Item, following: Node) -> list[str]:
    """Run a test and return what failed; fixtures that the following test, or the session, needs are kept."""
    # Of what follows, pytest only asks where it lies.
    reports = runtestprotocol(item, log=False, nextitem=cast(pytest.Item, following))
    return [report.longreprtext for report in reports if report.failed]


def measure(items: Sequence[pytest.Item], modules: set[str]) -> dict[str, Measured]:
    """Run tests without any fault, and return which functions each calls and how long it takes."""
    functions: dict[tuple[str, int], str] = {}
    for module in modules:
        for function in outer_functions(parsed(module)):
            for line in range(first_line(function), (function.end_lineno or 0) + 1):
                functions[str(source_path(module)), line] = (
                    f"{module}:{first_line(function)}"
                )
    called: set[str] = set()

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        name = functions.get((code.co_filename, code.co_firstlineno))
        if name is not None:
            called.add(name)

    measured = {}
    for item, following in zip(items, [*items[1:], items[0].session], strict=True):
        called.clear()
        start = time.process_time()
        sys.settrace(trace)
        found = failures(item, following)
        sys.settrace(None)
        assert not found, (item.nodeid, found)
        measured[item.nodeid] = Measured(time.process_time() - start, sorted(called))
    return measured


def passes(fault: Fault, tests: Sequence[pytest.Item], seconds: float) -> bool:
    """Return whether tests pass with a fault, within a time."""
    limit_processor_time(seconds)
    try:
        install(fault)
    except ImportError:
        # Every test fails.
        return False
    return not any(
        failures(item, following)
        for item, following in zip(tests, [*tests[1:], tests[0].session], strict=True)
    )


def run_pytest(tests: Sequence[str], plugin: object) -> int:
    """Run pytest without output, and return its exit status."""
    options = ["-x", "-q", "--capture=sys", "-p", "no:cacheprovider", "-p", "no:xdist"]
    options += ["-m", "not slow and not peer and not corpora"]
    options += [f"tests/{test}" for test in tests]
    output = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(output):
        status = pytest.main([*options, f"--basetemp={folder}/tests"], [plugin])
    if status != pytest.ExitCode.OK:
        print(output.getvalue(), file=sys.stderr)
    return int(status)


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
        "--seconds",
        type=float,
        default=10,
        help="processor time of the tests of one fault, measured without it",
    )
    parser.add_argument(
        "--module",
        action="append",
        help="only modules whose name begins so; can be repeated",
    )
    parser.add_argument(
        "--tests", action="append", help="only these tests; can be repeated"
    )
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    os.chdir(ROOT)
    modules = [
        name for name in MODULES if name.startswith(tuple(options.module or ("",)))
    ]
    every = {name: faults(name) for name in modules}
    chosen = [
        fault
        for name, possible in every.items()
        for fault in random.Random(f"{options.seed} {name}").sample(
            possible, min(options.each, len(possible))
        )
    ]
    runner = FaultRunner(chosen, options.seconds)
    assert run_pytest(options.tests or TESTS, runner) == 0
    noticed = runner.noticed
    for name in modules:
        tried = [noticed[fault] for fault in chosen if fault.module == name]
        print(f"| {name} | {len(every[name])} | {len(tried)} | {sum(tried)} |")
    total = len(noticed)
    found = sum(noticed.values())
    print(f"| all | | {total} | {found} ({found / total:.0%}) |")


if __name__ == "__main__":
    main()
