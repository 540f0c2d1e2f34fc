"""Says what programs do with data: run it, fetch it, decode it, pass it on, send it."""

from __future__ import annotations

from typing import Final

SHELLS: Final = frozenset(
    ("sh", "bash", "zsh", "dash", "ksh", "ash", "csh", "tcsh", "fish")
)  # fmt: skip
INTERPRETERS: Final = frozenset(
    ("python", "python2", "python3", "perl", "ruby", "node", "php", "lua", "luajit", "tclsh",
    "expect", "pwsh", "powershell", "osascript", "deno", "bun", "pypy3", "guile", "Rscript",
    "jshell")
)  # fmt: skip
"""Programs that run what they read, in languages of their own."""
PROGRAM_OPTIONS: Final = frozenset(
    ("-c", "-e", "-r", "-E", "-ne", "-pe", "-Command", "--eval", "-p")
)
"""Options of interpreters whose value is a program."""
PREFIXES: Final = frozenset(
    ("sudo", "doas", "nohup", "exec", "time", "command", "builtin", "setsid", "nice", "ionice",
    "stdbuf", "busybox", "unbuffer", "proxychains", "proxychains4", "torsocks", "watch",
    "chronic", "eatmydata", "timeout", "flock", "chroot", "RUN", "ENTRYPOINT", "CMD", "SHELL",
    "-", "@", "!", "%", "%sh", "%system", "xargs", "parallel", "env", "retry", "nsenter",
    "unshare", "firejail", "script", "start-stop-daemon")
)  # fmt: skip
"""Programs that start the one in their arguments, and words that files put before commands."""
ENCODERS: Final = frozenset(
    ("base64", "base32", "xxd", "od", "hexdump", "openssl", "gpg", "uuencode")
)
DECODERS: Final = frozenset(("rev", "tr", "tac"))
"""Programs that make a constant readable."""
COMPRESSED: Final = frozenset(
    ("gunzip", "zcat", "bunzip2", "bzcat", "unxz", "xzcat", "zstdcat", "unzstd")
)
DIGESTS: Final = frozenset(
    (
        "wc",
        "md5sum",
        "sha1sum",
        "sha256sum",
        "sha512sum",
        "shasum",
        "md5",
        "cksum",
        "b2sum",
        "test",
        "[",
    )
)
"""Programs whose output tells nothing of what they read."""
READERS: Final = frozenset(
    ("cat", "head", "tail", "grep", "egrep", "fgrep", "sed", "awk", "gawk", "cut", "sort",
    "uniq", "jq", "yq", "base64", "base32", "xxd", "od", "hexdump", "gzip", "bzip2", "xz",
    "zstd", "tar", "zip", "7z", "openssl", "gpg", "paste", "column", "fold", "dd", "strings",
    "less", "more", "nl", "tac", "rev", "split", "bat", "cpio", "rg", "diff", "uuencode",
    "find", "zcat", "age", "gunzip", "ls")
)  # fmt: skip
"""Programs that print what the files in their arguments hold."""
ARCHIVERS: Final = frozenset(("zip", "7z", "rar"))
"""Programs whose first operand is the file that they write."""
COPIERS: Final = frozenset(("cp", "mv", "install", "ln", "ditto"))
FETCHERS: Final = frozenset(
    ("curl", "wget", "wget2", "fetch", "aria2c", "lynx", "w3m", "GET", "lwp-request",
    "lwp-download", "http", "https", "httpie", "axel", "links", "elinks", "curlie", "xh",
    "ftp", "tftp", "certutil", "bitsadmin")
)  # fmt: skip
CONNECTORS: Final = frozenset(
    ("nc", "ncat", "netcat", "telnet", "socat", "nc.openbsd", "nc.traditional", "pwncat")
)
"""Programs that join their input and output to a host."""
MAILERS: Final = frozenset(
    ("mail", "mailx", "mutt", "sendmail", "msmtp", "swaks", "ssmtp", "mosquitto_pub", "kcat",
    "wormhole", "croc", "ncftpput", "lftp", "smbclient", "websocat", "wscat", "logger",
    "finger", "whois", "nats", "redis-cli", "ftp", "tftp", "sftp", "cadaver", "magic-wormhole",
    "ffsend", "transfer", "onionshare", "onionshare-cli")
)  # fmt: skip
"""Programs that send what they read to others."""
RESOLVERS: Final = frozenset(
    ("dig", "nslookup", "host", "drill", "delv", "ping", "ping6", "getent", "resolvectl",
    "traceroute", "kdig", "dog", "adig", "resolveip", "fping", "nping", "hping3")
)  # fmt: skip
"""Programs that ask name servers for what their arguments name."""
STORES: Final = frozenset(
    ("aws", "gsutil", "gcloud", "az", "azcopy", "rclone", "mc", "s3cmd", "s5cmd", "b2",
    "ossutil", "oci", "gh", "glab", "hf", "huggingface-cli", "wandb", "mlflow", "dvc",
    "kaggle", "doctl", "linode-cli", "ibmcloud", "s4cmd", "obsutil", "coscmd", "restic",
    "borg", "ipfs", "modal", "vercel", "wrangler", "netlify", "twine", "npm", "docker",
    "skopeo", "oras", "crane", "git", "slackcat", "telegram-send", "kubectl")
)  # fmt: skip
"""Command lines of stores and services."""
UPLOADS: Final = frozenset(
    ("cp", "mv", "sync", "put", "upload", "upload-batch", "copy", "copyto", "moveto", "rcat",
    "put-object", "pipe", "publish", "send-message", "create", "api", "push", "up", "comment",
    "add", "invoke", "put-parameter", "put-secret-value", "put-item", "put-record",
    "update-function-configuration", "put-log-events", "release", "gist", "post", "deploy",
    "write")
)  # fmt: skip
"""Their verbs that send something."""
COPIES: Final = frozenset(("cp", "mv", "sync", "copy", "copyto", "moveto"))
"""Those of them whose last argument is the target."""
REMOTE_COPIERS: Final = frozenset(("scp", "rsync", "pscp", "unison", "sshpass"))
INSTALLERS: Final = frozenset(
    ("pip", "pip3", "pipx", "uv", "npm", "npx", "yarn", "pnpm", "gem", "cargo", "go",
    "easy_install", "conda", "mamba", "dpkg", "rpm", "yum", "dnf", "apk", "apt", "apt-get",
    "helm", "kubectl", "docker", "podman", "nerdctl", "code", "ansible-playbook",
    "ansible-pull", "terraform")
)  # fmt: skip
"""Programs that run what they fetch, or install it for others to run."""
BUILDERS: Final = frozenset(
    (
        "make",
        "pip",
        "pip3",
        "python",
        "python3",
        "npm",
        "cargo",
        "cmake",
        "ninja",
        "go",
        "docker",
        "yarn",
        "just",
    )
)
"""Programs that run files of the folder that they are started in."""
TOKENS: Final = (
    ("gh", "auth", "token"), ("gcloud", "auth", "print-"), ("gcloud", "auth",
    "application-default"), ("aws", "sts", "get-session-token"), ("aws", "sts", "assume-role"),
    ("aws", "configure", "get"), ("aws", "configure", "export-credentials"), ("aws",
    "secretsmanager", "get-secret"), ("aws", "ssm", "get-parameter"), ("az", "account",
    "get-access-token"), ("az", "keyvault", "secret"), ("kubectl", "get", "secret"), ("vault",
    "kv", "get"), ("vault", "read", ""), ("git", "credential", "fill"), ("security", "find-",
    ""), ("pass", "show", ""), ("op", "read", ""), ("doppler", "secrets", ""), ("heroku",
    "config", ""), ("gopass", "show", ""), ("bw", "get", ""), ("docker-credential-", "get",
    ""), ("secret-tool", "lookup", ""), ("kubectl", "config", "view"), ("huggingface-cli",
    "token", ""),
)  # fmt: skip
"""Commands that print a secret: a program and its first arguments, by how they begin."""
