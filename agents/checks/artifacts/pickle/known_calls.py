"""Judges calls that are harmless with particular arguments only."""
# ruff: noqa: PLR2004 -- numbers of arguments are what they are

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, TypeGuard

from agents.checks.artifacts.pickle import carried_code
from agents.checks.artifacts.pickle.carried_code import BOUND
from agents.checks.artifacts.pickle.exhaustion import is_measured
from agents.checks.artifacts.pickle.globals import ImportVerdict, Level, binding_fault, judge
from agents.checks.artifacts.pickle.heads import starts_like_pickle
from agents.checks.artifacts.pickle.particular_calls import (
    CHECKS,
    Allowed,
    is_class,
    iterated,
    plain_type,
)
from agents.checks.artifacts.pickle.pickle_file import PickleFile
from agents.checks.artifacts.pickle.symbols import (
    PERSISTENT,
    Blob,
    Global,
    Result,
    describe,
    named_class,
)
from agents.checks.artifacts.pickle.unlisted import boasts
from agents.checks.artifacts.scanning import SourceRange

CODECS: Final = frozenset(("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"))
_PICKLED_AT: Final = {"_numba_unpickle": 1, "unpickle_doc": 1}
"""Where a function's argument is that it unpickles, if not the first.

Source: numba `core/serialize.py`, spaCy `tokens/doc.pyx`.
"""
_REFERRED: Final = frozenset(
    (
        "type",
        "subscript",
        "union",
        "code",
        "wraps",
        "attribute",
        "expression",
        "number",
        "symbol",
        "kept",
        "iterates",
        "accumulates",
    )
)
"""Uses that models also refer to without a call."""


_PLAIN_OF_TYPES: Final = (("SimpleNamespace",), ("GenericAlias",), ("NoneType",))


class Reporter(Protocol):
    """The stream in which calls are judged, and to which faults are reported."""

    file: PickleFile
    pending: list[Callable[[], None]]
    dangerous_call: bool
    called_unknown: bool
    unknown: dict[tuple[str, str], tuple[Global, ImportVerdict, bool]]
    verdicts: dict[int, ImportVerdict]
    particular: list[Global]

    def report(self, rule_id: str, description: str, **evidence: Any) -> None:  # noqa: ANN401
        """Report a finding."""

    def once(self, kind: str, module: str, name: str) -> bool:
        """Return whether nothing was reported of an import under this key yet."""

    def imported(self, found: Global, protocol: int) -> None:
        """Judge an import."""

    def misused(self, callee: Global, evidence: dict[str, Any]) -> None:
        """Report a call of something that models only refer to."""

    def weigh(self, callee: Global, args: object, offset: int, *, sized: bool = False) -> None:
        """Report a call whose result exceeds memory."""


class KnownCalls:
    """Judges the calls of listed imports by their arguments."""

    def __init__(self, stream: Reporter) -> None:
        """Judge the calls of a stream."""
        self._stream = stream

    def specialise(self, found: Global, uses: frozenset[str]) -> None:
        """Set how the calls of an import are judged.

        Args:
            found: The import.
            uses: Its uses by the allow-list.
        """
        module, name = found.module, found.name
        special: dict[str, Callable[[Global, Any, int], object]] = {
            "enum": self._member,
            "type": self._type_of,
            "ufunc": self._ufunc,
            "bytes": self._load_from_bytes,
            "pickled": self._load_pickled,
            "partial": self._partial,
            "curry": self._curried,
            "compose": self._composed,
            "code": self.carried,
            "iterates": self._iterates,
        }
        for use in CHECKS.keys() & uses:
            special[use] = partial(self._checked, CHECKS[use])
        if "type-name" in uses:
            special["type-name"] = self._named_type
        for use, handler in special.items():
            if use in uses:
                found.quiet = True
                found.evaluate = partial(handler, found)
                if use not in _REFERRED:
                    self._stream.particular.append(found)
        if module == "_codecs":
            found.evaluate = partial(self._encode, found)
        elif name in ("_reconstructor", "__newobj__", "__newobj_ex__"):
            found.evaluate = partial(self._reconstruct, found)
        elif name.startswith("_rebuild_from_type"):
            found.evaluate = partial(self._rebuild_from_type, found)
        elif name == "_type_reconstructor":
            found.evaluate = partial(self._rebuild_type, found)
        elif name in ("dtype", "NumpyArrayWrapper") or module == "torch_geometric.inspector":
            found.evaluate = partial(Result, found)
        elif name == "bytes" and module in ("builtins", "__builtin__"):
            found.evaluate = partial(self._bytes, found)
        elif is_measured(module, name):
            found.evaluate = partial(self._measured, found)

    def _bytes(self, found: Global, args: object, offset: int) -> object:
        """Below protocol 3, empty bytes are a call of their type."""
        return b"" if args == () else self._measured(found, args, offset)

    def _named_type(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Judge a type that dill looks up by name; a plain type is judged like an import."""
        if place := plain_type(args):
            kind = Global(*place, offset, "REDUCE")
            self._stream.imported(kind, 4)
            return kind
        return self._checked(CHECKS["type-name"], found, args, offset)

    def _iterates(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Judge an iterator that calls nothing: over plain data it ends."""
        if iterated(args, self._is_allowed):
            self._stream.misused(found, {"offset": offset, "opcode": "REDUCE"})
        return Result(found, args, offset)

    def _measured(self, found: Global, args: object, offset: int) -> object:
        self._stream.weigh(found, args, offset)
        return Result(found, args, offset)

    def _odd(self, found: Global, args: object, offset: int, why: str) -> None:
        self._stream.dangerous_call = True
        self._stream.report(
            "TW-PICKLE-HOSTILE-CALL",
            f"the pickle calls {found}{describe(args)[:200]}: {why}",
            offset=offset,
            arguments=describe(args)[:400],
            **{"global": str(found)},
        )

    def _is_allowed(self, value: object, *uses: str) -> bool:
        import_verdict = self._stream.verdicts.get(id(value)) if isinstance(value, Global) else None
        return (
            import_verdict is not None
            and import_verdict.level is Level.ALLOWED
            and bool(import_verdict.uses.intersection(uses) if uses else True)
        )

    def _member(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Python 3.11 pickles the member of an enumeration as getattr(class, name)."""
        if (
            len(args) == 2
            and isinstance(args[1], str)
            and args[1].isidentifier()
            and isinstance(args[0], Global)
        ):
            import_verdict = self._stream.verdicts[id(args[0])]
            method = Global(args[0].module, f"{args[0].name}.{args[1]}", offset, "REDUCE")
            of_method = judge(method.module, method.name, 4)
            if of_method.level is Level.ALLOWED or of_method.referable:
                self._stream.imported(method, 4)
                return method
            is_class = args[0].name.rsplit(".", 1)[-1][:1].isupper()
            public = is_class and not args[1].startswith("_")
            if public and import_verdict.level is Level.UNKNOWN:
                return Result(found, None, offset)
        if len(args) == 2 and args[1] == "__new__" and self._is_class(args[0]):
            return Result(found, (args[0], "__new__"), offset)
        if self._is_method(args) or carried_code.is_maker(args):
            return Result(found, BOUND, offset)
        if carried_code.is_setter(args):
            return args[2]
        self._odd(found, args, offset, "it looks up any attribute of any object")
        return None

    def _is_class(self, value: object) -> TypeGuard[Global]:
        """Return whether a value is a class whose instances may be made without a call."""
        if not isinstance(value, Global):
            return False
        import_verdict = self._stream.verdicts[id(value)]
        if import_verdict.level is Level.ALLOWED:
            return value.creatable or value.evaluate is not None
        return import_verdict.level is Level.UNKNOWN and not import_verdict.function

    def made_by(self, callee: object, args: object) -> tuple[Global, object] | None:
        """Return the class and arguments of an instance that a prepared call makes.

        Below protocol 4, NEWOBJ_EX is written as a call of `partial(cls.__new__, cls, *arguments,
        **keywords)`.

        Args:
            callee: What is called.
            args: Its arguments: there are none.
        """
        if not (isinstance(callee, Result) and isinstance(callee.args, Result) and args == ()):
            return None
        new, state = callee.args, callee.state
        if not self._makes_instances(new) or not isinstance(state, tuple) or len(state) != 4:
            return None
        given, keywords = state[1], state[2]
        if state[0] is not new or not isinstance(given, tuple) or not given:
            return None
        cls = given[0]  # the class itself, or a subclass that inherits its constructor
        return (cls, (given[1:], keywords)) if self._is_class(cls) else None

    def _makes_instances(self, value: object) -> bool:
        """Return whether a value is the `__new__` of a class, looked up and found harmless."""
        return (
            isinstance(value, Result)
            and self._is_allowed(value.callee, "enum")
            and isinstance(value.args, tuple)
            and value.args[1:] == ("__new__",)
        )

    def joins(self, callee: Result, args: Any) -> bool:  # noqa: ANN401
        """Return whether a call only joins two classes of data, as batches of PyG are restored.

        Args:
            callee: What is called.
            args: Its arguments.
        """
        return (
            self._is_allowed(callee.callee, "bases")
            and isinstance(args, tuple)
            and len(args) == 2
            and all(isinstance(cls, Global) and self._is_allowed(cls, "new") for cls in args)
        )

    def is_head(self, value: object) -> TypeGuard[Global]:
        """Return whether an import makes the head of an expression, which is applied to others."""
        return self._is_allowed(value, "symbol") and str(value).endswith("._rebuild_undef")

    def applied(self, head: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Judge the application of a function without a definition."""
        return self._checked(CHECKS["expression"], head, args, offset)

    def _is_callable(self, target: object) -> bool:
        """Return whether a value is an import that is harmless with any arguments."""
        return (
            isinstance(target, Global)
            and self._stream.verdicts[id(target)].level is not Level.DANGEROUS
            and target not in self._stream.particular
        )

    def _is_method(self, args: Any) -> bool:  # noqa: ANN401
        """Return whether a method or member of a harmless class is only referred to."""
        if len(args) != 2:
            return False
        if isinstance(args[0], str | bytes | int | float | tuple | list):  # constant or container
            return not binding_fault(args[1])
        owner = args[0].callee if isinstance(args[0], Result) else args[0]
        if not isinstance(owner, Global):
            return False
        import_verdict = self._stream.verdicts[id(owner)]
        known = import_verdict.level is Level.ALLOWED or import_verdict.in_known
        if binding_fault(args[1], known=known):
            return False
        if import_verdict.level is Level.ALLOWED:
            # In the class itself, private names are internal and may be anything. Of Python's
            # protocols, only methods that inspect the object remain.
            private = args[1].startswith("_") and not args[1].startswith("__")
            public = owner is not args[0] or not private
            kept = owner is not args[0] or is_class(owner)
            return public and kept and self._is_allowed(owner, "new", "call")
        # also for an unknown class: a call of the result is reported
        return (
            import_verdict.level is Level.UNKNOWN
            and not import_verdict.function
            and not boasts(owner.name)
        )

    def _is_bound(self, value: Result) -> bool:
        """Return whether a value is a method that was looked up and found harmless."""
        of = value.callee
        return self._is_allowed(of, "enum") and value.args is BOUND

    def carried(self, found: object, args: Any, offset: int) -> object:  # noqa: ANN401
        """Judge a part of code carried by value: whether it refers to anything outside."""
        if isinstance(found, Global) and found.name in carried_code.LOOKUPS:
            return self._builtin_type(found, args, offset)
        return self._carried(found, args, offset)

    def _builtin_type(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Judge a type that cloudpickle looks up by name; a plain type is judged like an import."""
        if args in _PLAIN_OF_TYPES:
            kind = Global("types", args[0], offset, "REDUCE")
            self._stream.imported(kind, 4)
            return kind
        return self._carried(found, args, offset)

    def _carried(self, found: object, args: Any, offset: int) -> object:  # noqa: ANN401
        where = str(found) if isinstance(found, Global) else describe(found)
        if why := carried_code.fault(found, args, self._is_callable):
            self._stream.dangerous_call = True
            self._stream.report(
                "TW-PICKLE-HOSTILE-CALL",
                f"the pickle calls {where}: {why}",
                offset=offset,
                arguments=describe(args)[:400],
                **{"global": where},
            )
        elif not carried_code.binds_import(found, args) and self._stream.once("carried", "", ""):
            self._stream.report(
                "TW-PICKLE-CARRIES-CODE",
                "the pickle carries functions by value; their code only computes",
                offset=offset,
                **{"global": where},
            )
        return Result(found, args, offset)

    def _checked(
        self,
        fault: Callable[[tuple[Any, ...], Allowed], str],
        found: Global,
        args: Any,  # noqa: ANN401
        offset: int,
    ) -> object:
        """Judge a call that is harmless with particular arguments."""
        if why := fault(args, self._is_allowed):
            self._odd(found, args, offset, why)
        return Result(found, args, offset)

    def _type_of(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        if len(args) != 1:
            self._odd(found, args, offset, "it makes a class")
        return Result(found, None, offset)

    def _ufunc(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        name = args[1] if len(args) == 2 and args[0] == "numpy" else None
        known = isinstance(name, str) and judge("numpy._core._multiarray_umath", name, 4)
        if known and known.level is Level.ALLOWED:
            return Result(found, None, offset)
        self._odd(found, args, offset, "it looks up any name in any module")
        return None

    def _load_from_bytes(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        value = args[0] if len(args) == 1 else None
        raw = value.head if isinstance(value, Blob) else value
        if isinstance(value, Blob):
            scan, source = self._stream.file.scan, self._stream.file.source
            self._stream.pending.append(
                partial(
                    scan.descend,
                    f"bytes@{value.offset}",
                    SourceRange(source, value.offset, value.length),
                )
            )
        zipped = isinstance(raw, bytes) and raw.startswith(b"PK\x03\x04")
        if zipped and isinstance(value, bytes):
            zipped = b"PK\x05\x06" in value[-(1 << 16) :]
        if not isinstance(raw, bytes) or not (zipped or starts_like_pickle(raw)):
            self._odd(found, args, offset, "it loads content that can't be read here")
        return Result(found, None, offset)

    def _load_pickled(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Judge a call that unpickles bytes, which are scanned if they begin as a pickle does."""
        position = _PICKLED_AT.get(found.name, 0)
        value = args[position] if len(args) > position else None
        if isinstance(value, Blob):
            self._load_from_bytes(found, (value,), offset)
        elif not (isinstance(value, bytes) and starts_like_pickle(value)):
            self._odd(found, args, offset, "it loads what can't be read here")
        return Result(found, args, offset)

    def _partial(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Binds arguments for a later call: harmless if the function is."""
        target = args[0] if args else None
        if self._makes_instances(target):
            return Result(found, target, offset)
        if isinstance(target, Result) and (
            self._is_bound(target) or carried_code.is_carried(target) or self._is_judged(target)
        ):
            return Result(found, None, offset)
        if not self._is_callable(target):
            self._odd(found, args, offset, "it prepares a call of any object")
        return Result(found, None, offset)

    def _is_judged(self, value: Result) -> bool:
        """Return whether a value was bound or composed before, and has been judged."""
        return self._is_allowed(value.callee, "partial", "curry", "compose", "attributes", "method")

    def _curried(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Toolz binds arguments like partial; it names functions of its own modules as text."""
        if len(args) not in (5, 6) or not (isinstance(args[0], Global) and args[0].creatable):
            self._odd(found, args, offset, "it calls its first argument")
            return None
        target = args[1]
        if isinstance(target, str):
            module, _, name = target.rpartition(":")
            target = Global(module, name.removesuffix(".func"), offset, "REDUCE")
            self._stream.imported(target, 4)
        return self._partial(found, (target,), offset)

    def _composed(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Holds functions for successive calls: each is judged like partial's."""
        for target in args:
            self._partial(found, (target,), offset)
        return Result(found, None, offset)

    def _encode(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        if args and isinstance(args[0], str):
            codec = args[1] if len(args) > 1 else "utf-8"
            if codec in CODECS:
                try:
                    raw = args[0].encode(codec)
                except UnicodeEncodeError:
                    return Result(found, None, offset)
                return raw
        return Result(found, None, offset)

    def _reconstruct(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        cls = named_class(args[0]) if args else None
        if isinstance(cls, Result) and cls.callee is PERSISTENT:
            return Result(found, args, offset)  # not called, so anything is harmless
        if isinstance(cls, Global):
            import_verdict = self._stream.verdicts[id(cls)]
            base = args[1] if found.name == "_reconstructor" and len(args) > 1 else None
            plain = not isinstance(base, Global) or base.module in ("builtins", "__builtin__")
            if import_verdict.level is Level.ALLOWED and not (cls.creatable and plain):
                self._stream.misused(cls, {"offset": offset, "opcode": "REDUCE"})
            if import_verdict.level is Level.UNKNOWN:
                self._stream.called_unknown = True
                self._stream.unknown[cls.module, cls.name] = (cls, import_verdict, True)
            return Result(cls, args[1:], offset)
        self._odd(found, args, offset, "it makes an instance of an object that is not imported")
        return None

    def _rebuild_type(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        """Judge how numba makes one of its types: it calls what copyreg would.

        Source: numba `core/types/abstract.py`, `_type_reconstructor`.
        """
        maker = args[0] if len(args) > 1 else None
        if (
            isinstance(maker, Global)
            and maker.module in ("copyreg", "copy_reg")
            and maker.name == "_reconstructor"
            and isinstance(args[1], tuple)
        ):
            self._reconstruct(maker, args[1], offset)
        else:
            self._odd(found, args, offset, "it calls its first argument")
        return Result(found, None, offset)

    def _rebuild_from_type(self, found: Global, args: Any, offset: int) -> object:  # noqa: ANN401
        if not args or not self._is_allowed(args[0], "call"):
            self._odd(found, args, offset, "it calls its first argument")
        return Result(found, None, offset)
