"""Landlock: a process that may read Python's own folders and no other file (Linux 5.13 and later, any user).

Standard library only, for it is imported inside the sandbox's own process. Constants are from the kernel's
include/uapi/linux/landlock.h; the system calls have the same numbers on every machine.
"""

from __future__ import annotations

import ctypes
import os
import struct

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
RULE_PATH_BENEATH = 1
#: Every right of the first version, from EXECUTE to MAKE_SYM: what no rule gives back is refused.
ALL_RIGHTS = (1 << 13) - 1
EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock refused: {os.strerror(ctypes.get_errno())}")
    return result


def read_only(folders: list[str]) -> None:
    """Leave this process, and all it starts, nothing but reading below ``folders``. Open files stay open.

    Raises:
        OSError: the kernel has no Landlock, or it is off.
    """
    rules = _syscall(CREATE_RULESET, struct.pack("Q", ALL_RIGHTS), ctypes.c_size_t(8), ctypes.c_uint32(0))
    try:
        for folder in folders:
            descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            try:
                beneath = struct.pack("=Qi", EXECUTE | READ_FILE | READ_DIR, descriptor)
                _syscall(ADD_RULE, ctypes.c_int(rules), ctypes.c_int(RULE_PATH_BENEATH), beneath, ctypes.c_uint32(0))
            finally:
                os.close(descriptor)
        _libc.prctl(*(ctypes.c_ulong(part) for part in (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
        _syscall(RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)
