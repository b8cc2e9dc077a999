"""Own user, network, process, IPC and mount namespaces with a file system that holds Python and nothing else.

Used inside the sandbox's own process (Linux), through ctypes, for Python has no ``unshare`` before 3.12.
Standard library only. See namespaces(7), user_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
NOBODY = 65534

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name} refused: {os.strerror(ctypes.get_errno())}")


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that happens."""
    _call("prctl", *(ctypes.c_ulong(part) for part in (PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)))


def keep_to_oneself() -> None:
    """Keep this process's memory and open files, and its children's, from other processes of the same user."""
    _call("prctl", *(ctypes.c_ulong(part) for part in (PR_SET_DUMPABLE, 0, 0, 0, 0)))


def enter(root: str, folders: list[str]) -> None:
    """Move this process into namespaces of its own, as their first process.

    Forks: the caller goes on in the child; the outer process waits for it and ends as it ends. When the child
    ends, the kernel kills everything that it left behind.

    Args:
        root: an empty folder, which becomes the mount point of the new root inside the namespace only.
        folders: all that the new file system holds, read-only, at their own paths.

    Raises:
        OSError: the kernel does not permit one of the steps.
    """
    rest = NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(rest) != 0:  # root may; everybody else through a user namespace
        _call("unshare", rest | NEWUSER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):  # what killed the inner process is what the caller must see
            os.kill(os.getpid(), os.WTERMSIG(status))
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    die_with_parent()
    _private_root(root, folders)


def drop_privileges() -> None:
    """Give up every capability, and root's identity where Python can be read without it."""
    if os.geteuid() != 0:
        return
    try:
        if _readable_to_others(os.__file__):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        pass  # a user namespace maps one identity only; it has no rights outside
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _call("capset", header, (ctypes.c_uint32 * 6)())


def _readable_to_others(path: str) -> bool:
    """Whether every folder on the way to ``path`` lets any user through."""
    while (parent := os.path.dirname(path)) != path:
        if not os.stat(parent).st_mode & 0o001:
            return False
        path = parent
    return True


def python_folders(own: list[str]) -> list[str]:
    """What Python needs to import the standard library: its ``own`` folders and the system's shared libraries."""
    wanted = [*own, f"{sys.base_prefix}/lib", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
    folders: list[str] = []
    for folder in sorted({os.path.abspath(path) for path in wanted if path and os.path.isdir(path)}):
        if not any(folder.startswith(f"{outer}/") for outer in folders):
            folders.append(folder)
    return folders


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = (part.encode() if part is not None else None for part in (source, target, kind))
    _call("mount", *encoded, ctypes.c_ulong(flags), data.encode() if data else None)


def _private_root(root: str, folders: list[str]) -> None:
    """Make ``root`` the file system: read-only, with ``folders`` at their own paths."""
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("sandbox", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for folder in folders:
        target = root + folder
        os.makedirs(target, exist_ok=True)
        _mount(folder, target, None, MS_BIND | MS_REC)
        # Flags that came with the mount are locked in a user namespace and must be repeated.
        kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        _mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)
    _mount("none", root, None, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(root)
    _call("syscall", ctypes.c_long(PIVOT_ROOT[platform.machine()]), b".", b".")
    _call("umount2", b".", MNT_DETACH)
    os.chdir("/")
