"""Sockets to a world that answers at once: names, the time, and HTTP replies out of files, one for each request.

`seen` counts what was asked for: datagrams, POST, GET.
"""

AF_INET, SOCK_STREAM, SOCK_DGRAM = 2, 1, 2
seen = [0, 0, 0]
asking = None  # DATAGRAM, POST or GET while it is under way
DATAGRAM, POST, GET = 0, 1, 2


def getaddrinfo(host, port, af=0, type=SOCK_STREAM):
    return [(AF_INET, type, 0, "", (host, port))]


class socket:
    def __init__(self, af=AF_INET, type=SOCK_STREAM):
        self._type = type
        self._f = None

    def setblocking(self, flag):
        pass

    def connect(self, address):
        self._port = address[1]

    def write(self, data):
        if self._type == SOCK_DGRAM:
            self._began(DATAGRAM)
            self._said = bytes(data)
        else:  # a whole request
            if self._f:
                self._f.close()
            self._began(GET if bytes(data[:4]) == b"GET " else POST)
            self._f = open("/replies/%s.%d" % ("get" if asking == GET else "post", seen[asking]), "rb")
        return len(data)

    def _began(self, kind):
        global asking
        asking = kind
        seen[kind] += 1

    def recv(self, n):
        said = self._said
        if self._port == 123:  # 2027-01-15 08:00:00
            return b"\x24\x01\x00\xec" + bytes(20) + said[40:48] + b"\xee\xf4\x50\x80\0\0\0\0" * 2
        return said[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + said[12:] + b"\xc0\x0c\0\1\0\1\0\0\x01\x2c\0\4\x0a\0\0\7"

    def read(self, n):
        """Nothing comes that was not asked for."""

    def readline(self, n):
        return self._f.readline(n)

    def readinto(self, buf):
        return self._f.readinto(buf)

    def close(self):
        global asking
        asking = None
        if self._f:
            self._f.close()
