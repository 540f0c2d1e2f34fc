"""Confines a scanning process by the kernel: no files, network, programs or privileges.

Linux only, by system calls through ctypes: no binding of seccomp or landlock on the package index
is both maintained and free of a library that must be installed beside it. On other systems nothing
is confined, and `Confinement` says so.

Sources: `landlock(7)`, `seccomp(2)`, `capabilities(7)`, the kernel's `include/uapi/linux`.
"""
# ruff: noqa: PLR2004 -- numbers of the kernel's interface are what they are

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import stat
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

NOBODY: Final = 65534
_NEWUSER, _NEWNET = 0x10000000, 0x40000000
_PDEATHSIG, _SECCOMP, _CAPBSET_DROP, _NO_NEW_PRIVS, _CAP_AMBIENT = 1, 22, 24, 38, 47
_LAST_CAPABILITY: Final = 63
_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""The id in the kernel's audit, and the column of `_FORBIDDEN`."""
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""The number of rights over files, by version of landlock."""
_FORBIDDEN: Final[dict[str, tuple[int | None, int | None]]] = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "kill": (62, 129), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36),
    "mknod": (133, None), "mknodat": (259, 33), "creat": (85, None), "truncate": (76, 45),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "setns": (308, 268), "unshare": (272, 97), "bpf": (321, 280), "perf_event_open": (298, 241),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "kexec_load": (246, 104), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224),
    "open_by_handle_at": (304, 265), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "memfd_create": (319, 279),
    "setuid": (105, 146), "setgid": (106, 144), "setresuid": (117, 147), "setresgid": (119, 149),
    "setgroups": (116, 159), "capset": (126, 91), "iopl": (172, None), "ioperm": (173, None),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    "kcmp": (312, 272), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186),
    "mq_open": (240, 180),
}  # fmt: skip
"""System calls that no parser makes, by their numbers on x86-64 and on 64-bit ARM.

Some of them reach other processes of the same user, among them those that scan other tenants'
files.
"""
_ON_ITSELF: Final = {"tgkill": (234, 131), "prlimit64": (302, 261)}
"""System calls that a process may make for itself, by its id or 0, not for others."""
_SIGNALS: Final = {"fcntl": ((72, 25), (8, 10, 15)), "ioctl": ((16, 29), (0x8901, 0x8902))}
"""Commands by which a file's readiness is signalled to another process, with any signal."""
_CLONE: Final = (56, 220)
_CLONE3: Final = 435
_CLONE_THREAD: Final = 0x10000
_EPERM, _ENOSYS = 1, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """What a scanning process has given up, as the kernel confirmed it."""

    network: bool = False
    """It has a network namespace of its own, with nothing in it."""
    seccomp: bool = False
    """System calls that start programs, reach others or change files are refused."""
    landlock: int = 0
    """The version of landlock that restricts it to the files of the libraries; 0: none."""
    capabilities: bool = False
    """It has none, and can get none."""
    unprivileged: bool = False
    """It does not run as root."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What it has not given up, by name."""
        named = {
            "a network namespace": self.network or self.seccomp,
            "seccomp": self.seccomp,
            "landlock": self.landlock > 0,
            "dropped capabilities": self.capabilities,
        }
        return tuple(name for name, held in named.items() if not held)

    def __str__(self) -> str:
        """Return it in one line."""
        held = [
            *(["seccomp"] if self.seccomp else []),
            *([f"landlock {self.landlock}"] if self.landlock else []),
            *(["no network"] if self.network else []),
            *(["no capabilities"] if self.capabilities else []),
            *(["not root"] if self.unprivileged else ["as root"]),
        ]
        lacking = f"; without {', '.join(self.missing)}" if self.missing else ""
        return f"{', '.join(held)}{lacking}"


def confine(libraries: Iterable[str]) -> Confinement:
    """Give up all that the kernel can revoke, permanently; return what that was.

    Args:
        libraries: Folders and archives that the interpreter imports from; beside the system's
            shared libraries they are all that can still be opened, and only for reading.
    """
    if sys.platform != "linux":
        return Confinement()
    libc = ctypes.CDLL(None, use_errno=True)
    paths = _readable_paths(libraries)
    root = os.geteuid() == 0
    network = libc.unshare(_NEWNET if root else _NEWUSER | _NEWNET) == 0
    if root and _others_read(paths):
        _become_nobody()
    capabilities = _drop_capabilities(libc)
    private = libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user has cleared it
    landlock = _restrict_files(libc, paths) if private else 0
    seccomp = private and _filter_calls(libc)
    return Confinement(
        network=network,
        seccomp=seccomp,
        landlock=landlock,
        capabilities=capabilities and private,
        unprivileged=os.geteuid() != 0,
    )


def _readable_paths(libraries: Iterable[str]) -> list[str]:
    """Return what may be read, links followed: the libraries of Python and of the system."""
    given = [*libraries, *sys.path, sys.prefix + "/lib", sys.base_prefix + "/lib"]
    given += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"]
    given += ["/usr/share/zoneinfo", "/etc/localtime", "/dev/null", "/dev/urandom"]
    given += ["/proc/meminfo"]  # the 7z library asks how much memory there is
    found = dict.fromkeys(_existing(os.path.realpath(path)) for path in given if path)
    return [path for path in found if path not in ("", "/")]


def _existing(path: str) -> str:
    """Return a path if it exists, the archive if it leads into one, else nothing."""
    if os.path.lexists(path):
        return path
    archives = [str(parent) for parent in Path(path).parents if parent.is_file()]
    return archives[0] if archives else ""


def _others_read(paths: Sequence[str]) -> bool:
    """Return whether someone who owns none of the libraries can still read them."""
    folders = {parent for path in paths for parent in Path(path).parents}
    with contextlib.suppress(OSError):
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in folders) and all(
            Path(path).stat().st_mode & stat.S_IROTH for path in paths
        )
    return False


def _become_nobody() -> None:
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def _drop_capabilities(libc: Any) -> bool:  # noqa: ANN401 -- a library has no type
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)  # refused if there is none to drop
    libc.prctl(_CAP_AMBIENT, 4, 0, 0, 0)
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    return bool(libc.capset(header, ctypes.create_string_buffer(bytes(24))) == 0)


def _restrict_files(libc: Any, paths: Sequence[str]) -> int:  # noqa: ANN401 -- the same
    """Restrict the process to the files of some paths; return landlock's version."""
    version = int(libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))
    if version < 1:
        return 0
    rights = max(count for since, count in _FILE_RIGHTS.items() if since <= version)
    handled = struct.pack("<Q", (1 << rights) - 1)
    if version >= 4:
        handled += struct.pack("<Q", 3)  # bind and connect by TCP
    if version >= 6:
        handled += struct.pack("<Q", 3)  # abstract sockets and signals of others
    ruleset = int(
        libc.syscall(
            _LANDLOCK_CREATE, ctypes.create_string_buffer(handled), ctypes.c_size_t(len(handled)), 0
        )
    )
    if ruleset < 0:
        return 0
    try:
        for path in paths:
            _allow_reading(libc, ruleset, path)
        return version if libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _allow_reading(libc: Any, ruleset: int, path: str) -> None:  # noqa: ANN401 -- the same
    with contextlib.suppress(OSError):  # a path that can't be opened now can't be read later either
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rights = _READ_FILE | (_READ_DIR if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 0)
        rule = ctypes.create_string_buffer(struct.pack("<Qi", rights, descriptor))
        try:
            libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0)
        finally:
            os.close(descriptor)


def _filter_calls(libc: Any) -> bool:  # noqa: ANN401 -- the same
    """Have the kernel refuse system calls that no parser makes; say whether it does."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return False
    architecture, column = known
    numbers = sorted(call[column] for call in _FORBIDDEN.values() if call[column] is not None)  # type: ignore[type-var]  # none is None here
    code = [
        (0x20, 0, 0, 4),  # the architecture
        (0x15, 1, 0, architecture),
        (0x06, 0, 0, _KILL),
        (0x20, 0, 0, 0),  # the call's number
        (0x35, 0, 1, 0x40000000),  # numbers of x32 name the same calls again
        (0x06, 0, 0, _ERRNO | _EPERM),
        (0x15, 0, 1, _CLONE3),  # whose flags can't be seen; libraries then take clone
        (0x06, 0, 0, _ERRNO | _ENOSYS),
        (0x15, 0, 4, _CLONE[column]),
        (0x20, 0, 0, 16),  # its flags: threads may be made, processes not
        (0x45, 0, 1, _CLONE_THREAD),
        (0x06, 0, 0, _ALLOW),
        (0x06, 0, 0, _ERRNO | _EPERM),
    ]
    for own in _ON_ITSELF.values():
        code += [
            (0x15, 0, 5, own[column]),
            (0x20, 0, 0, 16),  # whose id
            (0x15, 1, 0, 0),
            (0x15, 0, 1, os.getpid()),
            (0x06, 0, 0, _ALLOW),
            (0x06, 0, 0, _ERRNO | _EPERM),
        ]
    for call, commands in _SIGNALS.values():
        code += [(0x15, 0, len(commands) + 3, call[column]), (0x20, 0, 0, 24)]
        code += [(0x15, len(commands) - at, 0, command) for at, command in enumerate(commands)]
        code += [(0x06, 0, 0, _ALLOW), (0x06, 0, 0, _ERRNO | _EPERM)]
    for number in numbers:
        code += [(0x15, 0, 1, number or 0), (0x06, 0, 0, _ERRNO | _EPERM)]
    code.append((0x06, 0, 0, _ALLOW))
    program = ctypes.create_string_buffer(
        b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
    )
    filters = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(program)))
    return bool(libc.prctl(_SECCOMP, 2, filters, 0, 0) == 0)
