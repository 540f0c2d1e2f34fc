"""Fields of records and settings as tables: type, default and meaning, read from the types."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, get_origin

import msgspec
from msgspec import inspect as shapes

ITEM: Final = "[]"
"""Of a path: any element of a list."""
NAMED: Final = "<name>"
"""Of a path: any key of a table."""
_UNITS: Final = {
    "_seconds": "seconds",
    "_ms": "milliseconds",
    "_bytes": "bytes",
    "_days": "days",
    "_records": "records",
    "_ratio": "share of 1",
    "_port": "TCP port",
}
"""Units by the suffix of a field's name."""
_PLAIN: Final[dict[type, str]] = {
    shapes.StrType: "text",
    shapes.BoolType: "true or false",
    shapes.IntType: "integer",
    shapes.FloatType: "number",
    shapes.DateTimeType: "time, RFC 3339",
    shapes.DateType: "date",
    shapes.NoneType: "none",
    shapes.AnyType: "any",
    shapes.RawType: "any",
    shapes.CustomType: "path",
    shapes.BytesType: "base64",
}
_LISTS: Final = (
    shapes.VarTupleType,
    shapes.ListType,
    shapes.SetType,
    shapes.FrozenSetType,
    shapes.CollectionType,
)
_DEEPEST: Final = 6


class Documented(msgspec.Struct, frozen=True, kw_only=True):
    """One field, as a reference shows it."""

    path: str
    """Names joined by full stops; `[]` for an element of a list, `<name>` for a key of a table."""
    type: str
    unit: str
    required: bool
    default: Any
    """The default, where it is not required and not made at run time."""
    meaning: str


@cache
def field_meanings(kind: type) -> dict[str, str]:
    """Return the meaning of each field of a class: the docstring below it.

    Args:
        kind: A class whose source can be read.
    """
    meanings: dict[str, str] = {}
    kind = get_origin(kind) or kind
    for base in reversed(kind.__mro__[:-1]):
        if base.__module__.partition(".")[0] not in {"agents", "schemas", "streams"}:
            continue
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(node, ast.ClassDef)
        for at, statement in enumerate(node.body[:-1]):
            after = node.body[at + 1]
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                meanings[statement.target.id] = " ".join(after.value.value.split())
    return meanings


def unit_of(name: str) -> str:
    """Return the unit that a field's name ends with, empty if it names none."""
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def struct_fields(kind: Any, path: str = "") -> Iterator[Documented]:  # noqa: ANN401 -- a type, or a union of types
    """Yield the fields of a record and of the records in it, in the order of the source.

    Args:
        kind: A `msgspec.Struct`.
        path: The path of the record.
    """
    yield from _fields(shapes.type_info(kind), path, ())


def _fields(shape: shapes.Type, path: str, above: tuple[type, ...]) -> Iterator[Documented]:
    for inner, inner_path in _structs(shape, path):
        if inner.cls in above or len(above) >= _DEEPEST:
            continue
        meanings = field_meanings(inner.cls)
        if isinstance(inner.tag, str) and inner.tag_field is not None:
            yield Documented(
                path=_join(inner_path, inner.tag_field),
                type=f"`{inner.tag}`",
                unit="",
                required=True,
                default=None,
                meaning=_first_line(inner.cls),
            )
        for field in inner.fields:
            here = _join(inner_path, field.encode_name)
            nested = next(_structs(field.type, here), None)
            meaning = meanings.get(field.name, "")
            if not meaning and nested is not None:
                meaning = _first_line(nested[0].cls)
            default = None if field.default is msgspec.NODEFAULT else field.default
            if default is None and field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            yield Documented(
                path=here,
                type=type_text(field.type),
                unit=unit_of(field.name),
                required=field.required,
                default=default,
                meaning=meaning,
            )
            yield from _fields(field.type, here, (*above, inner.cls))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _first_line(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def _structs(shape: shapes.Type, path: str) -> Iterator[tuple[shapes.StructType, str]]:
    """Yield the records within a type, each with its path."""
    match shape:
        case shapes.StructType():
            yield shape, path
        case shapes.UnionType():
            for variant in shape.types:
                yield from _structs(variant, path)
        case shapes.Metadata():
            yield from _structs(shape.type, path)
        case shapes.DictType():
            yield from _structs(shape.value_type, f"{path}.{NAMED}")
        case _ if isinstance(shape, _LISTS):
            yield from _structs(shape.item_type, f"{path}{ITEM}")
        case _:
            return


def type_text(shape: shapes.Type) -> str:
    """Return a type in words."""
    match shape:
        case shapes.Metadata():
            return type_text(shape.type)
        case shapes.UnionType():
            return " or ".join(dict.fromkeys(type_text(variant) for variant in shape.types))
        case shapes.EnumType():
            return _one_of([cls.value for cls in shape.cls])
        case shapes.LiteralType():
            return _one_of(list(shape.values))
        case shapes.StructType():
            return "object"
        case shapes.DictType():
            return f"object: {type_text(shape.value_type)} by name"
        case shapes.TupleType():
            return f"list of {len(shape.item_types)}"
        case _ if isinstance(shape, _LISTS):
            return f"list of {type_text(shape.item_type)}"
        case _:
            return _PLAIN[type(shape)] + _bounds(shape)


def _one_of(values: list[Any]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def _bounds(shape: shapes.Type) -> str:
    """Return the bounds of a number or text that its type sets."""
    said = []
    for name, words in (
        ("gt", "more than"),
        ("ge", "at least"),
        ("lt", "less than"),
        ("le", "at most"),
        ("max_length", "at most"),
    ):
        value = getattr(shape, name, None)
        if value is not None:
            said.append(f"{words} {value:,}" + (" characters" if name == "max_length" else ""))
    return f", {' and '.join(said)}" if said else ""
