"""MicroPython's `tls`: connections need memory of the chip, and fail as on a chip if too little is free."""

import io

import _bus
import _heap
import tls

_TLS = 74
_ERRORS = {
    -1: lambda: OSError(12),
    # The error of Mbed TLS when memory runs out during the verification.
    -2: lambda: ValueError("The certificate is not correctly signed by the trusted CA\n"),
}


# The module `tls`.
class Tls:
    def __getattr__(self, name):
        return getattr(tls, name)


class SSLContext:
    def __init__(self, protocol):
        self._real = tls.SSLContext(protocol)

    def _set(name):
        return property(lambda self: getattr(self._real, name), lambda self, value: setattr(self._real, name, value))

    verify_mode = _set("verify_mode")
    verify_callback = _set("verify_callback")

    def __getattr__(self, name):
        return getattr(self._real, name)

    def wrap_socket(self, sock, **options):
        who = getattr(sock, "_id", None)
        if who is not None:
            _heap.check()
            held = _bus.call(_TLS, who)[0]
            if held < 0:
                failed = _ERRORS[held]()
                if options.get("do_handshake_on_connect", True):
                    raise failed
                return _Failed(sock, failed)
            _heap.hold(who, held)
        return self._real.wrap_socket(sock, **options)


# A connection without enough memory: the first write or read raises the error.
class _Failed(io.IOBase):
    def __init__(self, sock, failed):
        self._sock = sock
        self._failed = failed

    def setblocking(self, flag):
        pass

    def write(self, data):
        raise self._failed

    readinto = read = readline = write

    def close(self):
        self._sock.close()

    def ioctl(self, request, arg):
        return self._sock.ioctl(request, arg)


Tls.SSLContext = SSLContext
