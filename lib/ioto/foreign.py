"""Keys that config.DEFAULTS does not have: Ioto's own names, what it says to services that are not here, and what nobody knows.

Imported only where a file has such a key. Pure.
"""

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
    "account ai app certs cloud conditional database demo directories limits logs mqtt optimize profile profiles shadow title trace "
    "web webserver api.serialize log.format log.path log.show log.sources log.types services.ai services.cloud services.database "
    "services.demo services.keys services.logs services.mqtt services.provision services.register services.serialize "
    "services.shadow services.sync services.url services.web"
)


def flatten(path, prefix, found, flat):
    """Put {dotted key of DEFAULTS: value} of an object in the file `path` into `flat`; ConfigError for an unknown key."""
    for key, value in found.items():
        dotted = prefix + key
        same = SAME.get(dotted, dotted)
        if same in DEFAULTS and "." not in key and not (dotted == "api" and isinstance(value, dict)):
            if same == "services.update" and flat.get(same) is False:
                continue  # that and update.enable: either switches it off
            if same in flat and same != "services.update":
                raise ConfigError("%s: %s: there by two names, keep one of them" % (path, same))
            flat[same] = value
        elif dotted not in FOREIGN.split():
            known = list(DEFAULTS) + list(SAME)
            inside = [k for k in known if k.startswith(dotted + ".")]
            if not inside:
                near = set(k[len(prefix) :].split(".")[0] for k in known if k.startswith(prefix))
                raise ConfigError("%s: %s: unknown key; here are %s" % (path, dotted, ", ".join(sorted(near))))
            if not isinstance(value, dict):
                raise ConfigError("%s: %s: %s: an object of %s" % (path, dotted, shown(value), ", ".join(inside)))
            flatten(path, dotted + ".", value, flat)
