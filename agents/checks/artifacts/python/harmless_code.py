"""Recognises code that only computes: it names nothing that runs, reads or reaches out."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Final, TypeGuard

from agents.checks.artifacts.dangerous_names import modules, names, usual_attributes
from agents.checks.artifacts.python.bytecode import LAYOUTS, Code, walk_code
from agents.checks.artifacts.python.shell_commands import is_hostile_command, is_private_path
from agents.checks.artifacts.python.syntax import parse_source
from agents.checks.artifacts.scanning import Budget, BudgetExceededError, CorruptFileError
from agents.domain.late_pattern import late_pattern

MAX_CODE: Final = 1 << 16
"""The most bytes of a small function."""
_REACHES: Final = frozenset(
    (
        "getattr", "setattr", "delattr", "hasattr", "vars", "globals", "locals", "dir", "open",
        "input", "breakpoint", "exit", "quit", "memoryview",
        "read_file", "write_file", "py_function", "numpy_function", "py_func", "load_op_library",
        "load_library", "get_file", "open_file", "print_function", "format_map", "fromfile",
        "tofile", "memmap", "genfromtxt", "loadtxt", "savetxt", "save", "load", "savez",
        "gfile", "urlopen", "urlretrieve", "request", "environ", "f_globals", "f_back",
        "gi_frame", "cr_frame", "tb_frame", "func_globals", "code", "attrgetter", "methodcaller",
        "load_model", "load_weights", "save_weights", "from_pretrained", "run_functions_eagerly",
        "write", "read", "unlink", "chmod", "system", "CodeType", "FunctionType", "read_pickle",
        "to_pickle", "read_csv", "to_csv", "read_sql", "import_module", "resolve_name",
        "start_new_thread", "start_new", "interrupt_main",
    )
)  # fmt: skip
IDENTIFYING: Final = frozenset(("_thread",))
"""The module by which `repr` of a dataclass distinguishes threads; functions that start one are
listed above.
"""
_DUNDER: Final = late_pattern(
    r"__(?!(init|call|len|getitem|setitem|iter|next|repr|str|eq|hash|name|doc|qualname|module|class"
    r"|contains|new|array|version|getnewargs|getstate|post_init|match_args|lt|le|gt|ge|ne|bool"
    r"|int|float|index|neg|pos|abs|r?add|r?sub|r?mul|r?matmul|r?truediv|r?floordiv|r?mod|r?pow"
    r"|r?and|r?or|r?xor|iadd|isub|imul|enter|exit|reversed|annotations|slots|setstate|del|copy|deepcopy"
    r"|setattr|delattr|dataclass_\w+|missing|format|round|trunc|floor|ceil|divmod|invert|pos|bytes"
    r"|complex|set_name|class_getitem|init_subclass|itruediv|ifloordiv|imod|ipow|iand|ior|ixor)__)\w+__"
)
"""Names of the interpreter itself, except those that every class has, which are harmless alone."""
_ADDRESS: Final = late_pattern(r"(?i)^\s*(\w+://|\\\\|\.\./|/)\S*\s*$|^\s*(import|from)\s+\w")
_NAME: Final = late_pattern(r"^[A-Za-z_][\w.]*$")


@cache
def _unusual() -> frozenset[str]:
    return (
        (
            _REACHES
            | names("bytecode")
            | names("code-key")
            | names("keras")
            | modules("pickle")
            | modules("pickle-path")
            | modules("argument")
        )
        - (usual_attributes() - _REACHES)
        - IDENTIFYING
    )


def harmless_names(used: Iterable[str]) -> bool:
    """Return whether code uses no name that leads out of it."""
    unusual = _unusual()
    return not any(name in unusual or _DUNDER.search(name) for name in used)


def harmless_text(text: str) -> bool:
    """Return whether a constant of code is not a command, address, path or name that leaves it."""
    if _is_place(text):
        return True
    if is_hostile_command(text) or is_private_path(text) or _ADDRESS.search(text):
        return False
    return not _NAME.match(text) or harmless_names(text.split("."))


def only_computes(raw: bytes) -> bool:
    """Return whether marshalled code is whole, small and only computes.

    Args:
        raw: A marshalled code object.
    """
    if len(raw) > MAX_CODE:
        return False
    for layout in LAYOUTS:
        code = Code()
        try:
            walk_code(raw, code, layout, Budget(steps=MAX_CODE))
        except (CorruptFileError, BudgetExceededError):
            continue
        texts = [constant.decode("utf-8", "replace") for constant in code.constants]
        return bool(code.names) and harmless_names(code.names) and all(map(harmless_text, texts))
    return False


def source_fault(text: str, libraries: Collection[str]) -> str:
    """Return why Python source does more than compute, or an empty string.

    Args:
        text: The source.
        libraries: Packages that it may import from.
    """
    if len(text) > MAX_CODE:
        return "its code is too large to analyse"
    try:
        tree = parse_source(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "its code is not Python"
    # its name is a constant, and judged as such
    passed: set[ast.AST] = {node.func for node in ast.walk(tree) if _looks_up_a_constant(node)}
    passed |= set(_own_parameters(tree))
    for node in ast.walk(tree):
        if node in passed:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names]
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else named
            if any(module.partition(".")[0] not in libraries for module in modules):
                return f"its code imports {modules[0][:60]}"
        for name in _names(node):
            if not harmless_names((name,)):
                return f"its code uses {name!r}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            shown = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if not harmless_text(shown):
                return f"its code holds {shown[:60]!r}"
    return ""


def _own_parameters(tree: ast.AST) -> Iterator[ast.Name]:
    """Yield the names that stand for a parameter of the function around them."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            given = function.args
            named = {part.arg for part in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
            for statement in function.body:
                for node in ast.walk(statement):
                    if isinstance(node, ast.Name) and node.id in named:
                        yield node


def _looks_up_a_constant(node: ast.AST) -> TypeGuard[ast.Call]:
    """Return whether a node looks up an attribute whose name is written out."""
    match node:
        case ast.Call(
            func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str())], keywords=[]
        ):
            return True
    return False


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node uses."""
    match node:
        case ast.Name():
            yield node.id
        case ast.Attribute():
            yield node.attr
        case ast.Import() | ast.ImportFrom():
            for alias in node.names:
                yield from alias.name.split(".")
        case ast.keyword():
            yield node.arg or ""


def _is_place(text: str) -> bool:
    """Return whether a text is the path of the code's source, or a table of its lines."""
    return text.endswith((".py", ">")) or not text.isprintable()
