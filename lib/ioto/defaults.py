"""The configuration's reference: key, default, kind, unit and meaning; limits and the exception for invalid files."""

DEFAULTS = {  # lists, since a tuple of texts is compiled with copies of them
    "product": ["", "text"],  # product id, required for registration
    "version": ["0.0.0", "version"],  # version (SemVer); an update's version replaces it until this value is edited
    "builder": ["", "url"],  # where to register; "" = `api` and `token` are given here
    "api": ["", "url"],  # the device cloud; "" = from the registration
    "registration.hosts": [[], "texts"],  # hosts allowed in `api`; .example.com for its subdomains; "" = the builder's
    "token": ["", "text"],  # the device's own; "" = from the registration
    "state": ["state", "name"],  # folder of the record and provision.json
    "timezone": ["UTC", "zone"],  # UTC, +01:00, or POSIX TZ; windows are in this time
    "watchdog": ["2 mins", "watchdog"],  # timeout of the hardware watchdog, which run() feeds; never or 0 = no watchdog
    "log.level": ["error", "error warn info debug"],  # messages up to this level
    "network.timeout": ["30 secs", "limit"],  # time limit of each network operation, and of each 4 KiB received
    "network.dns": ["", "texts"],  # name servers; "" = those of the Wi-Fi
    "ntp.server": ["pool.ntp.org", "text"],  # "" = the agent does not set the clock
    "ntp.period": ["1 day", "duration"],  # how often the clock is set
    "services.update": [True, "bool"],  # false switches the update service off
    "tls.ca": [[], "files"],  # PEM or DER files of the authorities to trust, one or many in each; https needs one
    "tls.cert": ["", "file"],  # PEM or DER file of the device's own certificate, if the server requires one
    "tls.key": ["", "file"],  # file of its private key
    "tls.plain": [False, "bool"],  # true: also http: anyone on the network can read and change it; no token is sent
    "tls.verify": [True, "bool"],  # false: the server is NOT verified, anyone can pose as it
    "trial.limit": ["5 mins", "limit"],  # self-tests and check-in of a first boot, together
    "trial.selftest": ["1 min", "limit"],  # each self-test
    "update.schedule": ["anytime", "window"],  # when to check in and download
    "update.apply": ["anytime", "window"],  # when device:update is signalled
    "update.period": ["1 day", "duration"],  # minimum time between two check-ins
    "update.jitter": ["1 hour", "duration"],  # spread of a fleet: in the window, after power-on, beyond the period
    "update.throttle": [20, "ms"],  # milliseconds after each 4 KiB; 0 = none
    "update.keys": [[], "files"],  # PEM or DER files of public keys; if there are any, only signed images are installed
    "update.alone": ["needed", "never needed always"],  # check in without starting the application; needed = low memory
    "update.attempts": [3, (1, 100)],  # attempts at an update before it is recorded as failed
    "update.retry": ["10 mins", "duration"],  # pause before another attempt after a rollback
    "update.transport": ["asyncio", "asyncio urequests"],  # urequests blocks the loop and does not verify
    "update.script": ["scripts/update", "name"],  # Linux: run with the path of the verified file
    "update.slot": ["update.bin", "name"],  # Linux: path of that file
    "update.slotSize": [104857600, (1, 1 << 40)],  # Linux: its maximum size in bytes
    "wifi.ssid": ["", "text"],  # "" = the agent does not set up the link
    "wifi.password": ["", "text"],  # password of that network
    "wifi.hostname": ["", "text"],  # name of the board in that network; "" = the port's default
    "wifi.timeout": ["30 secs", "limit"],  # longest wait for the link
}

MOST_BYTES = 16384  # of a file


class ConfigError(ValueError):
    """Invalid configuration; the text names the file, key and value, and says what is allowed."""
