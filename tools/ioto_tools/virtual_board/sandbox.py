"""Sandbox this process with Linux's seccomp: it can only compute and use the descriptors that are already open.

The kernel refuses every system call that is not in a short list. A board's program can import every module of
MicroPython's unix port, read and write all memory of its process, and run its own machine code; so only the kernel can
confine it.
"""

import ctypes
import errno
import os
import platform
import struct

# (x86-64, AArch64) numbers of the calls that a computing process needs. Not in the list: calls that name a file, a
# process or an address (open, stat, exec, socket, kill, ptrace), and calls that could have signals sent to another
# process (fcntl and ioctl: F_SETOWN, FIOSETOWN).
_CALLS = {
    "read": (0, 63), "write": (1, 64), "clock_gettime": (228, 113), "lseek": (8, 62), "readv": (19, 65),
    "writev": (20, 66), "pread64": (17, 67), "close": (3, 57), "fstat": (5, 80), "poll": (7, None),
    "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "mmap": (9, 222), "mprotect": (10, 226),
    "munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "gettimeofday": (96, 169), "time": (201, None), "clock_getres": (229, 114),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "getpid": (39, 172), "gettid": (186, 178),
    "sched_yield": (24, 124), "futex": (202, 98), "set_robust_list": (273, 99), "rseq": (334, 293),
    "getrandom": (318, 278), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), (435, 435)  # allowed only to start threads
_ARCH = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH of linux/audit.h
_CLONE_THREAD = 0x10000
_X32 = 0x40000000  # set in the call numbers of the x32 ABI

_NUMBER, _MACHINE, _FIRST = 0, 4, 16  # offsets in struct seccomp_data: call number, machine, first argument
_LOAD, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2


def available() -> bool:
    """True if this machine supports the sandbox."""
    return platform.system() == "Linux" and platform.machine() in _ARCH


def restrict_process() -> None:
    """Restrict this process and its threads from now on. OSError if the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = _program(*_ARCH[platform.machine()])
    raw = ctypes.create_string_buffer(program)
    what = struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(raw))  # struct sock_fprog
    for words in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _FILTER, ctypes.c_char_p(what), 0, 0)):
        if libc.prctl(*(ctypes.c_ulong(word) if isinstance(word, int) else word for word in words)):
            code = ctypes.get_errno()
            raise OSError(code, "seccomp: %s" % os.strerror(code))


def _program(column: int, machine: int) -> bytes:
    """The filter: an array of struct sock_filter (code, instructions to skip if true, if false, value)."""

    def op(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, true, false, value)

    allow, refuse = op(_RETURN, _ALLOW), op(_RETURN, _ERRNO | errno.EPERM)
    lines = [
        op(_LOAD, _MACHINE),
        op(_EQUAL, machine, 1, 0),
        op(_RETURN, _KILL),
        op(_LOAD, _NUMBER),
        op(_AT_LEAST, _X32, 0, 1),
        refuse,
    ]
    for numbers in _CALLS.values():
        number = numbers[column]
        if number is not None:
            lines += [op(_EQUAL, number, 0, 1), allow]
    # Without clone3() the C library uses clone(), whose flags the filter can check.
    lines += [op(_EQUAL, _CLONE3[column], 0, 1), op(_RETURN, _ERRNO | errno.ENOSYS)]
    lines += [op(_EQUAL, _CLONE[column], 0, 3), op(_LOAD, _FIRST), op(_HAS, _CLONE_THREAD, 0, 1), allow, refuse]
    return b"".join(lines)
