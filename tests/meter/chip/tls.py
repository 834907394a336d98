"""TLS that adds nothing: what the engine takes lies in the other heap."""

PROTOCOL_TLS_CLIENT, CERT_NONE, CERT_REQUIRED = 0, 0, 2


class SSLContext:
    def __init__(self, protocol):
        pass

    def load_verify_locations(self, der):
        pass

    def load_cert_chain(self, cert, key):
        pass

    def wrap_socket(self, s, server_hostname=None, do_handshake_on_connect=True):
        return s
