"""Serial ports: open one, or explain why it can't be opened and what to do."""

import errno
import getpass
import os
import stat
from contextlib import suppress

import serial
from serial.tools.list_ports import comports

# Raised when the connection was lost; TypeError and AttributeError come from pyserial.
CONNECTION_LOST = (OSError, serial.SerialException, TypeError, AttributeError)


class PortError(Exception):
    """A port can't be opened; the text names it, the reason and what to do."""


def open_port(port: str, timeout_s: float) -> serial.Serial:
    """Open a port exclusively; returns a serial.Serial. PortError if that fails."""
    try:
        return serial.serial_for_url(port, baudrate=115200, timeout=timeout_s, exclusive=True)
    except (OSError, ValueError) as e:
        raise PortError(explain_error(port, e)) from None


def diagnose(port: str) -> str:
    """Why the port can't be opened; "" if it can."""
    try:
        open_port(port, 0).close()
    except PortError as e:
        return str(e)
    return ""


def explain_error(port: str, error: Exception) -> str:
    """Explain an OSError or ValueError from opening `port`."""
    if "://" in port:
        return "%s: %s. Write socket://HOST:PORT or rfc2217://HOST:PORT of a running server" % (
            port,
            _root_cause(error),
        )
    code = getattr(error, "errno", None) or getattr(error.__context__, "errno", None)
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or os.name == "nt" and "FileNotFoundError" in str(error):
        return "%s: there is no such port: is the board plugged in? %s" % (port, _list_ports())
    if os.name == "nt" and "PermissionError" in str(error) or code in (errno.EAGAIN, errno.EBUSY):
        return "%s: another program uses it (`ioto board log`, a terminal, Thonny): close that first" % port
    if code in (errno.EACCES, errno.EPERM):
        return "%s: you have no permission to use it: %s" % (port, _explain_permission(port))
    if code == errno.EIO:
        return "%s: input/output error: plug the board in again" % port
    if code in (errno.ENOTTY, errno.EINVAL, errno.EISDIR) or "configure port" in str(error) or _is_file(port):
        return "%s: it is not a serial port. %s" % (port, _list_ports())
    return "%s: %s" % (port, _root_cause(error))


def _root_cause(error: Exception) -> str:
    inner = error.__context__
    return str(inner if isinstance(inner, OSError) else error)


def _list_ports() -> str:
    found = [each.device for each in comports()]
    return "Ports of this machine: %s" % ", ".join(found) if found else "This machine has no serial port at the moment"


def _is_file(port: str) -> bool:
    with suppress(OSError):
        return not stat.S_ISCHR(os.stat(port).st_mode)
    return False


def _explain_permission(port: str) -> str:
    """How to get permission: usually by joining the port's group (dialout, uucp or plugdev on most distributions)."""
    import grp  # not on every system

    found = os.stat(port)
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    if found.st_gid == 0 or found.st_mode & 0o060 != 0o060:
        return "its mode is %s, owner %d: add a udev rule that gives it to a group" % (
            stat.filemode(found.st_mode),
            found.st_uid,
        )
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "USER"
    return "it belongs to the group `%s`: run `sudo usermod -a -G %s %s`, then log out and in again" % (
        group,
        group,
        user,
    )
