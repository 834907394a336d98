"""Read configuration files of Ioto's own agent, with keys that are not in DEFAULTS.

Imported only for such a file. Pure except for checking whether a file exists.
"""

import os

from .config_errors import shown
from .defaults import DEFAULTS, ConfigError

# Keys that have another name in Ioto's own files: {Ioto's key: key of DEFAULTS}.
SAME = {
    "api.builder": "builder",
    "scripts.update": "update.script",
    "tls.authority": "tls.ca",
    "tls.certificate": "tls.cert",
    "update.enable": "services.update",
}
# Ioto's keys for services that this agent does not have: accepted and ignored.
FOREIGN = (
    "account ai app certs cloud database demo directories limits logs mqtt optimize profile profiles shadow "
    "timeouts title "
    "trace web webserver api.serialize log.format log.path log.show log.sources log.types scripts.reset services.ai "
    "services.cloud "
    "services.database services.demo services.keys services.logs services.mqtt services.provision services.register "
    "services.serialize services.shadow services.sync services.test services.url services.web"
)
_LENIENT = "log network state wifi".split()  # sections without settings for updates, trust or time


class File:
    """The settings of a file.

    `flat` is {dotted key of DEFAULTS: value}; its entry `names` is {dotted key of DEFAULTS: key in the file}. `ignored`
    and `unknown` list the other keys of the file.
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
                    raise self.wrong("%s: %s: use an object of %s" % (dotted, shown(value), ", ".join(inside)))
                else:
                    self.add(dotted + ".", value)

    def set(self, key, value):
        flat = self.flat
        if key == "services.update":
            # services.update and update.enable: either one switches the update service off
            value = value if flat.get(key, True) is True else flat[key]
        elif key in flat:
            raise self.wrong(key + ": set by two keys: keep one of them")
        flat[key] = value

    def place(self, key):
        """Resolve a path like `@certs/x`, relative to the folder or its `state` folder, as in Ioto.

        False if the file does not exist.
        """
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
    """Return File.flat for the object `found` read from the file `path`; ConfigError for an unknown key.

    If another key shows that the file is Ioto's, an unknown key is an error only if it, or the key it resembles,
    concerns updates, trust or time. Ignored keys are appended to `notes`, as (level, message) for a log.
    """
    said = {k: v for k, v in found.items() if k != "conditional"}
    _choose(said, found.get("conditional"))
    file = File(path)
    file.add("", said)
    for key in file.unknown:
        near = _nearest(key)
        hint = " (%s?)" % near if near else ""
        if (
            not file.ignored
            or key.split(".")[0] in ("ntp", "tls", "trial", "update")
            or near
            and near.split(".")[0] not in _LENIENT
        ):
            raise file.wrong("%s: unknown key%s; known keys: %s" % (key, hint, ", ".join(sorted(set(_beside(key))))))
        notes.append(("warn", "%s: %s: unknown key%s, ignored" % (path, key, hint)))
    for key in file.ignored:
        notes.append(("info", "%s: %s: ignored, this agent has no such service" % (path, key)))
    file.place("tls.ca")
    if "certificate" in said.get("tls", ()) and not (file.place("tls.cert") and file.place("tls.key")):
        # In Ioto's file these are the web server's certificate and key, which may not exist.
        notes.append(("warn", "%s: tls.certificate: ignored, its file or tls.key's is missing" % path))
        file.flat["tls.cert"] = file.flat["tls.key"] = ""
    return file.flat


def _choose(found, conditional):
    """Merge the conditional settings of the selected profile into `found`, as Ioto does."""
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
    """The known names at the level of `key`."""
    prefix = key[: key.rfind(".") + 1]
    return [k[len(prefix) :].split(".")[0] for k in list(DEFAULTS) + list(SAME) if k.startswith(prefix)]


def _nearest(key):
    """The known key that differs from `key` by a few letters or only by its section; None if there is none."""
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
    """Edit distance: the number of letters to change, delete or insert."""
    row = list(range(len(b) + 1))
    for i in range(len(a)):
        above = row
        row = [i + 1]
        for j in range(len(b)):
            row.append(min(above[j + 1] + 1, row[j] + 1, above[j] + (a[i] != b[j])))
    return row[-1]
