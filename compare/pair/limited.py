"""Limits of a process that runs a stranger's code, as far as the system has them.

Called in that process, when all that it needs is loaded; nothing takes a limit back. Only the
standard library is used, so that the file can be loaded by its path alone.

- everywhere but Windows: memory, processor time, no files written, no core dumps (setrlimit);
- Linux with seccomp (x86-64, ARM64): no other process, no program, no socket, no signal, no way
  to raise a limit again; threads are allowed;
- Linux with Landlock (5.13 or newer): only what is named can be opened, and nothing be changed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE_THREAD = 0x10000
REFUSED = {  # system calls: what each is on x86-64, and on ARM64
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "sendto": (44, 206), "sendmsg": (46, 211), "kill": (62, 129), "tkill": (200, 130),
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "setrlimit": (160, 164), "prlimit64": (302, 261), "unshare": (272, 97), "setns": (308, 268),
    "mount": (165, 40), "chroot": (161, 51), "open_by_handle_at": (304, 265),
    "init_module": (175, 105), "finit_module": (313, 273), "bpf": (321, 280),
    "keyctl": (250, 219), "io_uring_setup": (425, 425), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
}  # fmt: skip
CLONE3 = 435  # "there is no such call": the C library then uses clone, whose flags can be seen
READ_FILE, READ_DIR = 1 << 2, 1 << 3  # Landlock's rights
NO_NEW_PRIVILEGES, SECCOMP = 38, 22  # prctl


def limit(*, memory: int = 0, seconds: int = 0, readable: Iterable[str] | None = None) -> set[str]:
    """Limit this process from now on.

    Args:
        memory: bytes of address space, beside what is in use; 0 for no limit.
        seconds: of processor time; 0 for no limit.
        readable: files and folders that may still be opened; None for all, to be read alone.

    Returns:
        What is in force: `resources`, `processes`, `files`.
    """
    found = set()
    for name, limited in (
        ("resources", lambda: _resources(memory, seconds)),
        ("files", lambda: _files(readable)),
        ("processes", _processes),  # the last: it takes away what the others need
    ):
        with suppress(OSError, ValueError, ImportError, AttributeError, KeyError):
            limited()
            found.add(name)
    return found


def _resources(memory: int, seconds: int) -> None:
    import resource  # not on Windows

    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if memory:
        limits[resource.RLIMIT_AS] = memory + _in_use()
    if seconds:
        limits[resource.RLIMIT_CPU] = seconds
    if not sys.platform.startswith("linux"):
        limits[resource.RLIMIT_NPROC] = 0
    for which, most in limits.items():
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS refuses some
            resource.setrlimit(which, (most, most))


def _in_use() -> int:
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _files(readable: Iterable[str] | None) -> None:
    """Restrict this process by Landlock: nothing is changed, and only what is named is opened."""
    library, version = _linux(), landlock()
    if version < 1:
        raise OSError("no Landlock")
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    if readable is None:
        rights &= ~(READ_FILE | READ_DIR | 1)
    ports, scopes = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    about = struct.pack("QQQ", rights, ports, scopes)[
        : 8 if version < 4 else 16 + 8 * (version > 5)
    ]
    ruleset = _called(library.syscall(444, about, len(about), 0))
    for path in readable or ():
        with suppress(OSError):  # it need not be there
            _allow(library, ruleset, path)
    _called(library.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _called(library.syscall(446, ruleset, 0))
    os.close(ruleset)


def landlock() -> int:
    """Return the version of Landlock; 0 where there is none."""
    with suppress(OSError):
        return max(0, int(_linux().syscall(444, None, 0, 1)))
    return 0


def _allow(library: ctypes.CDLL, ruleset: int, path: str) -> None:
    beneath = os.open(path, getattr(os, "O_PATH", os.O_RDONLY))
    rights = READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE
    _called(library.syscall(445, ruleset, 1, struct.pack("=Qi", rights, beneath), 0))
    os.close(beneath)


def _processes() -> None:
    """Filter the system calls of this process, by seccomp."""
    library = _linux()
    code = filtered(platform.machine())
    program = ctypes.create_string_buffer(code, len(code))
    about = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
    _called(library.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _called(library.prctl(SECCOMP, 2, ctypes.create_string_buffer(about), 0, 0))


def filtered(machine: str) -> bytes:
    """Return the filter of a machine's system calls, as the kernel's virtual machine runs it.

    Raises:
        KeyError: the machine is not known.
    """
    load, equal, at_least, has, back = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, unknown = 0x7FFF0000, 0x00050001, 0x00050026  # EPERM, ENOSYS
    column = list(ARCHITECTURES).index(machine)
    lines = [
        (load, 0, 0, 4), (equal, 1, 0, ARCHITECTURES[machine]), (back, 0, 0, refuse),
        (load, 0, 0, 0), (at_least, 0, 1, 0x40000000), (back, 0, 0, refuse),
        (equal, 0, 1, CLONE3), (back, 0, 0, unknown),
    ]  # fmt: skip
    for numbers in REFUSED.values():
        if (number := numbers[column]) is not None:
            lines += [(equal, 0, 1, number), (back, 0, 0, refuse)]
    lines += [
        (equal, 0, 3, CLONE[machine]), (load, 0, 0, 16), (has, 1, 0, CLONE_THREAD),
        (back, 0, 0, refuse), (back, 0, 0, allow),
    ]  # fmt: skip
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _linux() -> ctypes.CDLL:
    if not sys.platform.startswith("linux"):
        raise OSError("not Linux")
    return ctypes.CDLL(None, use_errno=True)


def _called(returned: int) -> int:
    if returned < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return returned
