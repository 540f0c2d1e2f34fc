"""Knows the installers whose own instructions are to pipe them into a shell."""

from __future__ import annotations

import re
from typing import Final

_HOSTS: Final = (
    "astral.sh",
    "aka.ms/InstallAzureCLIDeb",
    "bootstrap.pypa.io",
    "bun.sh",
    "claude.ai/install",
    "codecov.io/bash",
    "community.chocolatey.org/install.ps1",
    "deb.nodesource.com",
    "deno.land",
    "dl.dagger.io",
    "dot.net/v1",
    "fly.io/install",
    "fnm.vercel.app",
    "foundry.paradigm.xyz",
    "get.acme.sh",
    "get.docker.com",
    "get.helm.sh",
    "get.jetify.com",
    "get.k3s.io",
    "get.modular.com",
    "get.opentofu.org",
    "get.pnpm.io",
    "get.pulumi.com",
    "get.rke2.io",
    "get.scoop.sh",
    "get.sdkman.io",
    "get.volta.sh",
    "hf.co/cli",
    "install.determinate.systems",
    "install.duckdb.org",
    "install.python-poetry.org",
    "just.systems",
    "micro.mamba.pm",
    "mise.jdx.dev",
    "mise.run",
    "nixos.org",
    "ollama.com",
    "packagecloud.io/install/repositories/github/git-lfs",
    "packages.cloud.google.com",
    "pdm-project.org",
    "pixi.sh",
    "pkgx.sh",
    "pyenv.run",
    "raw.githubusercontent.com/Homebrew/install",
    "raw.githubusercontent.com/anchore",
    "raw.githubusercontent.com/aquasecurity",
    "raw.githubusercontent.com/argoproj",
    "raw.githubusercontent.com/conda-forge",
    "raw.githubusercontent.com/fluxcd",
    "raw.githubusercontent.com/git-lfs",
    "raw.githubusercontent.com/golangci",
    "raw.githubusercontent.com/helm",
    "raw.githubusercontent.com/k3d-io",
    "raw.githubusercontent.com/kubernetes",
    "raw.githubusercontent.com/kubernetes-sigs",
    "raw.githubusercontent.com/nvm-sh",
    "raw.githubusercontent.com/ohmyzsh",
    "raw.githubusercontent.com/pdm-project",
    "raw.githubusercontent.com/pyenv",
    "raw.githubusercontent.com/python-poetry",
    "repo.anaconda.com",
    "rpm.nodesource.com",
    "sdk.cloud.google.com",
    "setup.knative.dev",
    "sh.rustup.rs",
    "starship.rs",
    "tailscale.com/install",
    "taskfile.dev",
    "test.docker.com",
    "win.rustup.rs",
)
"""Hosts and paths, each documented by its project as what to pipe into a shell.

Source: the installation pages of the projects.
"""
_KNOWN: Final = re.compile(
    rf"https://(?:www\.)?(?:{'|'.join(map(re.escape, _HOSTS))})(?=[/?.\-]|$)(?!\.\w+\.\w)",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"\w+://|(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}/|\d+\.\d+\.\d+\.\d+")
_QUOTES: Final = "\"'`(){}[],;"


def is_known_installer(fetch: str) -> bool:
    """Return whether all that a command fetches are installers that many projects recommend.

    Args:
        fetch: The fetching command's arguments.
    """
    words = (word.strip(_QUOTES) for word in fetch.split())
    addresses = [word for word in words if _ADDRESS.match(word)]
    return bool(addresses) and all(map(_is_known, addresses))


def _is_known(address: str) -> bool:
    match = _KNOWN.match(address)
    if match is None:
        return False
    rest = address[match.end() :]
    # a host ends where its path begins: `astral.sh.files.example` is another one
    return "/" in match[0][len("https://") :] or rest[:1] in {"", "/", "?"}
