"""Replace secrets in a text that leaves the device. Pure, except that secrets() reads the file of the private key."""

_HIDDEN = b"***"
_PART_BYTES = 8  # texts in the log may be cut: so many bytes of a secret are enough
_ENDS = b" \t\r\n\"'<>)"


def secrets(agent):
    """The secrets of a device, as bytes; none if the agent was not made."""
    if not agent:
        return []
    config, provision = agent.config, agent.provision
    texts = [config["token"], config["wifi.password"], config["product"], provision.get("token")]
    texts.append((provision.get("was") or {}).get("token"))
    found = []
    for text in texts:
        if text and isinstance(text, str):
            found += [text.encode(), repr(text)[1:-1].encode()]
    if config["tls.key"]:
        try:
            with open(config["tls.key"], "rb") as f:
                found += [line.strip() for line in f.read(8192).split(b"\n") if line[:5] != b"-----" and len(line) > 8]
        except OSError:
            pass
    return found


def hide(text, found):
    """The bytes `text` without the secrets `found`, without query strings of URLs, bearer tokens and PEM blocks."""
    for secret in found:
        text = _hide_secret(text, secret)
    for mark in (b"?", b"earer "):
        text = _hide_after(text, mark)
    at = text.find(b"-----BEGIN")
    while at >= 0:
        end = text.find(b"-----END", at)
        end = -1 if end < 0 else text.find(b"-----", end + 8)
        text = text[:at] + _HIDDEN + (text[end + 5 :] if end >= 0 else b"")
        at = text.find(b"-----BEGIN")
    return text


def _hide_secret(text, secret):
    part = secret[:_PART_BYTES]
    at = text.find(part)
    while at >= 0:
        n = len(part)
        while n < len(secret) and text[at + n : at + n + 1] == secret[n : n + 1]:
            n += 1
        text = text[:at] + _HIDDEN + text[at + n :]
        at = text.find(part, at + len(_HIDDEN))
    return text


def _hide_after(text, mark):
    at = text.find(mark)
    while at >= 0:
        at += len(mark)
        end = at
        while end < len(text) and text[end] not in _ENDS:
            end += 1
        if end > at:
            text = text[:at] + _HIDDEN + text[end:]
        at = text.find(mark, at)
    return text
