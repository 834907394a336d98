"""The prompt at the serial port: MicroPython's REPL, raw REPL and raw paste mode (shared/runtime/pyexec.c).

It is C on a real board; here it is a program that uses two operations of the bus. Control characters: A raw mode,
B friendly mode, C interrupt, D run the input, or soft reset if there is none, E paste mode.
"""

import gc
import io
import sys

import _bus
import machine

_IDLE, _READ, _MODE = 27, 29, 30
_WINDOW = 128  # bytes of raw paste that the client may send ahead, twice
BANNER = (
    "MicroPython v%d.%d.%d on a virtual board with ESP32\n" % sys.implementation.version[:3]
    + 'Type "help()" for more information.\n'
)
_COMPOUND = ("if", "while", "for", "try", "with", "def", "class", "async")
_pushed = b""


# True if raw mode continues over a soft reset: then boot.py runs and main.py does not.
def raw_mode():
    return _bus.call(_MODE, -1)[0] == 1


def _set(raw):
    _bus.call(_MODE, 1 if raw else 0)


# Wait for input; returns 1 to `n` bytes.
def _read(n=1):
    global _pushed
    if not _pushed:
        _pushed = _bus.call(_READ)[1]
    taken, _pushed = _pushed[:n], _pushed[n:]
    return taken


def _say(text):
    sys.stdout.write(text)


# Compile and run; returns the exception, or None.
def _execute(source, scope, kind, name):
    try:
        try:
            _bus.held = False  # an interrupt that came at the prompt
            _bus.release()
            exec(compile(source, name, kind), scope)
        except SystemExit:
            machine.soft_reset()
        finally:
            _bus.hold()
    except BaseException as e:
        return e
    return None


def _soft_reset():
    _say("MPY: soft reboot\n")
    machine.soft_reset()


# (the input up to Ctrl-D, or None if Ctrl-C comes first; whether it was raw paste)
def _collect():
    text = b""
    while True:
        piece = _read(256)
        if not text and piece[:1] == b"\x05":
            piece += _until(3 - len(piece))
            if piece[1:3] == b"A\x01":
                return _paste(piece[3:]), True
        for i in range(len(piece)):
            c = piece[i : i + 1]
            if c in (b"\x01", b"\x02", b"\x03"):
                _push(piece[i + 1 :])
                return (c if c != b"\x03" else None), False
            if c == b"\x04":
                _push(piece[i + 1 :])
                return text + piece[:i], False
        text += piece


def _until(n):
    more = b""
    while len(more) < n:
        more += _read(n - len(more))
    return more


def _push(rest):
    global _pushed
    _pushed = rest + _pushed


def _paste(first):
    sys.stdout.buffer.write(b"R\x01" + bytes([_WINDOW & 255, _WINDOW >> 8, 1]))
    _push(first)
    text = b""
    window = _WINDOW
    while True:
        piece = _read(min(window, 128))
        end = piece.find(b"\x04")
        if end >= 0:
            _push(piece[end + 1 :])
            sys.stdout.buffer.write(b"\x04")
            return text + piece[:end]
        if b"\x03" in piece:
            sys.stdout.buffer.write(b"\x04")
            return None
        text += piece
        window -= len(piece)
        if not window:
            sys.stdout.buffer.write(b"\x01")
            window = _WINDOW


# The raw prompt, until Ctrl-B.
def raw(scope):
    _set(True)
    _say("raw REPL; CTRL-B to exit\n")
    while True:
        _say(">")
        source, pasted = _collect()
        if source == b"\x02":
            _set(False)
            _say("\n")
            return
        if source == b"\x01":
            _say("raw REPL; CTRL-B to exit\n")
            continue
        if source is None:
            continue
        if not source and not pasted:
            _say("OK\n")
            _soft_reset()
        if not pasted:
            _say("OK")
        failed = _execute(source, scope, "exec", "<stdin>")
        _say("\x04")
        _show(failed)
        _say("\x04")
        gc.collect()


# Read one line, with echo; returns its text, or the control character that ended it.
def _line():
    text = ""
    while True:
        c = _read()
        if c in (b"\r", b"\n"):
            _say("\n")
            return text
        if c in (b"\x01", b"\x02", b"\x03", b"\x05") or c == b"\x04" and not text:
            return c
        if c in (b"\x08", b"\x7f"):
            if text:
                text = text[:-1]
                _say("\x08 \x08")
        elif c >= b" ":
            try:
                text += c.decode()
                _say(c.decode())
            except ValueError:  # an incomplete character
                pass


# Read the rest of a compound statement, up to an empty line.
def _block(first):
    lines = [first]
    while True:
        _say("... ")
        line = _line()
        if not isinstance(line, str):
            _say("\n")
            return ""
        if not line.strip():
            return "\n".join(lines) + "\n"
        lines.append(line)


# The friendly prompt, forever.
def friendly(scope):
    _say(BANNER)
    while True:
        _say(">>> ")
        line = _line()
        if isinstance(line, bytes):
            _control(line, scope)
        elif line.strip():
            source = _block(line) if line.split(None, 1)[0].rstrip(":") in _COMPOUND or line[0] == "@" else line
            _show(_execute(source, scope, "single", "<stdin>"))


def _control(c, scope):
    _say("\n")
    if c == b"\x01":
        raw(scope)
        _say(BANNER)
    elif c == b"\x02":
        _say(BANNER)
    elif c == b"\x04":
        _soft_reset()
    elif c == b"\x05":
        _say("paste mode; Ctrl-C to cancel, Ctrl-D to finish\n=== ")
        source, _ = _collect()
        _say("\n")
        if source:
            _show(_execute(source.replace(b"\r", b"\n"), scope, "exec", "<stdin>"))


def _show(failed):
    if failed:
        told = io.StringIO()
        sys.print_exception(failed, told)
        for line in told.getvalue().split("\n"):
            if "/.shims/" not in line and line:  # on a real board this is C, so it is not in a traceback
                _say(line + "\n")


# The prompts, forever; silent without a serial port.
def run(scope):
    while True:
        try:
            while _bus.call(_MODE, -1)[0] < 0:
                _bus.wait(_IDLE, -1)
            if raw_mode():
                raw(scope)
            friendly(scope)
        except KeyboardInterrupt:
            _say("\n")
