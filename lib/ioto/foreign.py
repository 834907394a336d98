"""Files of Ioto's own agent, and keys that config.DEFAULTS does not have. Imported only where a file has such a key.

Looks only whether a file is there; else pure.
"""

import os

from .config import DEFAULTS, ConfigError
from .wrong import shown

# What Ioto's own files call by another name,
SAME = {
    "api.builder": "builder",
    "scripts.update": "update.script",
    "tls.authority": "tls.ca",
    "tls.certificate": "tls.cert",
    "update.enable": "services.update",
}
# and what they say to services that this agent does not have: accepted and ignored.
FOREIGN = (
    "account ai app certs cloud database demo directories limits logs mqtt optimize profile profiles shadow timeouts title "
    "trace web webserver api.serialize log.format log.path log.show log.sources log.types scripts.reset services.ai services.cloud "
    "services.database services.demo services.keys services.logs services.mqtt services.provision services.register "
    "services.serialize services.shadow services.sync services.test services.url services.web"
)
_LENIENT = "log network state wifi".split()  # nothing of updates, trust or time is there


class File:
    """`flat` becomes {dotted key of DEFAULTS: value}, and `names` in it {such a key: Ioto's}; `ignored` and `unknown` are the file's
    other keys.
    """

    def __init__(self, path):
        self.path = path
        self.flat = {"names": {}}
        self.ignored = []
        self.unknown = []

    def wrong(self, text):
        return ConfigError(self.path + ": " + text)

    def add(self, prefix, found):
        for key, value in found.items():
            dotted = prefix + key
            same = SAME.get(dotted, dotted)
            if same in DEFAULTS and "." not in key and not (dotted == "api" and isinstance(value, dict)):
                self.set(same, value)
                self.flat["names"][same] = dotted
            elif dotted in FOREIGN.split():
                self.ignored.append(dotted)
            else:
                inside = [k for k in list(DEFAULTS) + list(SAME) if k.startswith(dotted + ".")]
                if not inside:
                    self.unknown.append(dotted)
                elif not isinstance(value, dict):
                    raise self.wrong("%s: %s: an object of %s" % (dotted, shown(value), ", ".join(inside)))
                else:
                    self.add(dotted + ".", value)

    def set(self, key, value):
        flat = self.flat
        if key == "services.update":
            value = value if flat.get(key, True) is True else flat[key]  # that and update.enable: either switches it off
        elif key in flat:
            raise self.wrong(key + ": there by two names, keep one of them")
        flat[key] = value

    def place(self, key):
        """`@certs/x` is below the folder, or below its folder state, where Ioto has it; returns False if the file is not there."""
        value = self.flat.get(key)
        if not value or not isinstance(value, str):
            return True
        folder = self.path[: self.path.rfind("/") + 1]
        name = value[1:] if value[0] == "@" else value
        for at in ("", "state/"):
            try:
                os.stat(folder + at + name)
                self.flat[key] = at + name
                return True
            except OSError:
                pass
        return False


def flatten(path, found, notes):
    """File.flat of an object in the file `path`; ConfigError for an unknown key.

    Where another key shows that the file is Ioto's, an unknown one is an error only if it, or the key it resembles, is about
    updates, trust or time. What is left out then is appended to `notes`, as (level, message) for a log.
    """
    said = {k: v for k, v in found.items() if k != "conditional"}
    _choose(said, found.get("conditional"))
    file = File(path)
    file.add("", said)
    for key in file.unknown:
        near = _nearest(key)
        hint = " (%s?)" % near if near else ""
        if not file.ignored or key.split(".")[0] in ("ntp", "tls", "trial", "update") or near and near.split(".")[0] not in _LENIENT:
            raise file.wrong("%s: unknown key%s; here are %s" % (key, hint, ", ".join(sorted(set(_beside(key))))))
        notes.append(("warn", "%s: %s: unknown key%s, ignored" % (path, key, hint)))
    for key in file.ignored:
        notes.append(("info", "%s: %s: ignored, this agent has no such service" % (path, key)))
    file.place("tls.ca")
    if "certificate" in said.get("tls", ()) and not (file.place("tls.cert") and file.place("tls.key")):
        # Ioto's are those of its web server, which may have none.
        notes.append(("warn", "%s: tls.certificate: ignored, it and tls.key are not there" % path))
        file.flat["tls.cert"] = file.flat["tls.key"] = ""
    return file.flat


def _choose(found, conditional):
    """Blend in what the file says for the profile it names, as Ioto does."""
    for name, sets in (conditional if isinstance(conditional, dict) else {}).items():
        chosen = found.get(name, "dev" if name == "profile" else None)
        if isinstance(sets, dict) and isinstance(chosen, str):
            _blend(found, sets.get(chosen))


def _blend(found, more):
    for key, value in (more if isinstance(more, dict) else {}).items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = dict(found[key])
            _blend(found[key], value)
        else:
            found[key] = value


def _beside(key):
    """The names that could stand in its place."""
    prefix = key[: key.rfind(".") + 1]
    return [k[len(prefix) :].split(".")[0] for k in list(DEFAULTS) + list(SAME) if k.startswith(prefix)]


def _nearest(key):
    """The known key that differs from it by a few letters, or by its section; None if there is none."""
    prefix = key[: key.rfind(".") + 1]
    name = key[len(prefix) :]
    best = None
    least = len(name) // 3 + 1
    for each in _beside(key):
        n = _distance(name, each)
        if n < least:
            least = n
            best = prefix + each
    for known in DEFAULTS:
        if not best and known.split(".")[-1] == name:
            best = known
    return best


def _distance(a, b):
    """Letters to change, leave out or put in between two words."""
    row = list(range(len(b) + 1))
    for i in range(len(a)):
        above = row
        row = [i + 1]
        for j in range(len(b)):
            row.append(min(above[j + 1] + 1, row[j] + 1, above[j] + (a[i] != b[j])))
    return row[-1]
