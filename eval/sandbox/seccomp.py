"""A seccomp filter that leaves a process what pure Python code needs, and nothing else (Linux).

An allow-list: reading files, memory, time, its own threads. Every other system call fails with EPERM, among
them sockets, new processes, exec, signals to anybody, ptrace, mounts, io_uring, and opening a file to write.
The filter survives fork and exec and cannot be taken off.

Standard library only, for it is imported inside the sandbox's own process. Numbers are from the kernel's
syscall tables (arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h); the
program is classic BPF as in the kernel's Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

#: name → number, for what is allowed with any arguments.
X86_64 = {
    "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9,
    "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
    "pread64": 17, "readv": 19, "writev": 20, "access": 21, "pipe": 22, "select": 23, "sched_yield": 24,
    "mremap": 25, "madvise": 28, "dup": 32, "dup2": 33, "pause": 34, "nanosleep": 35, "getitimer": 36,
    "alarm": 37, "setitimer": 38, "getpid": 39, "exit": 60, "uname": 63, "getcwd": 79, "readlink": 89,
    "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100, "getuid": 102,
    "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110, "getpgrp": 111, "sigaltstack": 131,
    "gettid": 186, "time": 201, "futex": 202, "sched_getaffinity": 204, "getdents64": 217,
    "set_tid_address": 218, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229,
    "clock_nanosleep": 230, "exit_group": 231, "newfstatat": 262, "readlinkat": 267, "faccessat": 269,
    "pselect6": 270, "ppoll": 271, "set_robust_list": 273, "dup3": 292, "pipe2": 293, "getcpu": 309,
    "getrandom": 318, "membarrier": 324, "statx": 332, "rseq": 334, "faccessat2": 439,
}  # fmt: skip
AARCH64 = {
    "getcwd": 17, "dup": 23, "dup3": 24, "faccessat": 48, "close": 57, "pipe2": 59, "getdents64": 61, "lseek": 62,
    "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pselect6": 72, "ppoll": 73,
    "readlinkat": 78, "newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94, "set_tid_address": 96,
    "futex": 98, "set_robust_list": 99, "nanosleep": 101, "getitimer": 102, "setitimer": 103,
    "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123,
    "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135,
    "rt_sigreturn": 139, "times": 153, "uname": 160, "getrlimit": 163, "getrusage": 165, "getcpu": 168,
    "gettimeofday": 169, "getpid": 172, "getppid": 173, "getuid": 174, "geteuid": 175, "getgid": 176,
    "getegid": 177, "gettid": 178, "sysinfo": 179, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222,
    "mprotect": 226, "madvise": 233, "getrandom": 278, "membarrier": 283, "statx": 291, "rseq": 293,
    "faccessat2": 439,
}  # fmt: skip

#: For each machine: its audit number, the allowed calls, and the numbers of those whose arguments are looked at.
MACHINES = {
    "x86_64": (0xC000003E, X86_64, {"ioctl": 16, "clone": 56, "fcntl": 72, "openat": 257, "prlimit64": 302}),
    "aarch64": (0xC00000B7, AARCH64, {"ioctl": 29, "clone": 220, "fcntl": 25, "openat": 56, "prlimit64": 261}),
}
X86_64_OPEN = 2
X32_BIT = 0x40000000
CLONE3 = 435

CLONE_THREAD = 0x00010000
#: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, O_TMPFILE: the same bits on both machines.
WRITE_FLAGS = 0o3 | 0o100 | 0o1000 | 0o2000 | 0o20000000
#: TCGETS, TIOCGWINSZ, FIONCLEX, FIOCLEX, FIONBIO: what opening a file and asking for a terminal use.
IOCTLS = (0x5401, 0x5413, 0x5450, 0x5451, 0x5421)
#: F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC.
FCNTLS = (0, 1, 2, 3, 4, 1030)

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, JUMP_EQ, JUMP_GE, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2

Instruction = tuple[int, int, int, int]


def supported() -> bool:
    """Whether a filter is known for this machine; the kernel may still refuse it."""
    return sys.platform == "linux" and platform.machine() in MACHINES and sys.maxsize > 2**32


def _argument(index: int, high: bool = False) -> Instruction:
    """Load the low or high 32 bits of a system call's argument (both machines are little-endian)."""
    return (LOAD, 0, 0, 16 + 8 * index + (4 if high else 0))


def _only(number: int, *checks: Instruction) -> list[Instruction]:
    """For system call ``number``, run ``checks``, which end in a return; otherwise step over them."""
    return [(JUMP_EQ, 0, len(checks), number), *checks]


def _one_of(values: tuple[int, ...]) -> list[Instruction]:
    """Allow if the loaded value is one of ``values``, else EPERM."""
    tests = [(JUMP_EQ, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [*tests, (RETURN, 0, 0, ERRNO | errno.EPERM), (RETURN, 0, 0, ALLOW)]


def _unless_set(mask: int, error: int) -> list[Instruction]:
    """Allow if the loaded value has no bit of ``mask``, else ``error``."""
    return [(JUMP_SET, 0, 1, mask), (RETURN, 0, 0, ERRNO | error), (RETURN, 0, 0, ALLOW)]


def program(machine: str) -> bytes:
    """The filter as an array of ``struct sock_filter``."""
    audit, allowed, special = MACHINES[machine]
    code: list[Instruction] = [(LOAD, 0, 0, 4), (JUMP_EQ, 1, 0, audit), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    if machine == "x86_64":
        code += [(JUMP_GE, 0, 1, X32_BIT), (RETURN, 0, 0, KILL)]
        code += _only(X86_64_OPEN, _argument(1), *_unless_set(WRITE_FLAGS, errno.EACCES))
    for number in allowed.values():
        code += _only(number, (RETURN, 0, 0, ALLOW))
    code += _only(special["openat"], _argument(2), *_unless_set(WRITE_FLAGS, errno.EACCES))
    code += _only(special["ioctl"], _argument(1), *_one_of(IOCTLS))
    code += _only(special["fcntl"], _argument(1), *_one_of(FCNTLS))
    thread = [(JUMP_SET, 1, 0, CLONE_THREAD), (RETURN, 0, 0, ERRNO | errno.EPERM), (RETURN, 0, 0, ALLOW)]
    code += _only(special["clone"], _argument(0), *thread)
    # Reading limits passes a null pointer for the new ones, in both halves.
    no_new = [(JUMP_EQ, 0, 2, 0), _argument(2, high=True), (JUMP_EQ, 1, 0, 0)]
    code += _only(
        special["prlimit64"], _argument(2), *no_new, (RETURN, 0, 0, ERRNO | errno.EPERM), (RETURN, 0, 0, ALLOW)
    )
    # The C library tries clone3 for a thread and falls back to clone where the kernel says it has none.
    code += _only(CLONE3, (RETURN, 0, 0, ERRNO | errno.ENOSYS))
    code.append((RETURN, 0, 0, ERRNO | errno.EPERM))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


class Filter:
    """The filter of this machine, built once and installed in any number of forked children."""

    def __init__(self) -> None:
        code = program(platform.machine())
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._code = ctypes.create_string_buffer(code, len(code))
        packed = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(self._code))
        self._program = ctypes.create_string_buffer(packed, len(packed))

    def install(self) -> None:
        """Put this process under the filter, for good.

        Raises:
            OSError: the kernel refuses.
        """
        self._prctl(PR_SET_NO_NEW_PRIVS, 1)
        self._prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(self._program))

    def _prctl(self, *arguments: int) -> None:
        padded = (*arguments, 0, 0, 0, 0)[:5]
        if self._libc.prctl(*(ctypes.c_ulong(argument) for argument in padded)) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({arguments[0]}) refused")
