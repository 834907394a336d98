"""The configuration's reference: key, default, kind, unit and meaning; limits and the exception for invalid files."""

DEFAULTS = {  # lists, since a tuple of texts is compiled with copies of them
    "product": ["", "text"],  # product id; registers the device
    "version": ["0.0.0", "version"],  # SemVer of the software; an update says otherwise, until this is changed
    "builder": ["", "url"],  # where to register; "" = `api` and `token` stand here
    "api": ["", "url"],  # the device cloud; "" = as registration says
    "registration.hosts": [[], "texts"],  # hosts allowed in `api`; .example.com for all below; "" = the builder's
    "token": ["", "text"],  # the device's own; "" = as registration says
    "state": ["state", "name"],  # folder of the record and provision.json
    "timezone": ["UTC", "zone"],  # UTC, +01:00, or POSIX TZ; windows are in this time
    "watchdog": ["2 mins", "watchdog"],  # fed by the loop of run(), and in each trial; never or 0 = not at all
    "log.level": ["error", "error warn info debug"],  # how much is said
    "network.timeout": ["30 secs", "limit"],  # longest wait for anything of the network, and for 4 KiB
    "network.dns": ["", "texts"],  # name servers; "" = as the Wi-Fi says
    "ntp.server": ["pool.ntp.org", "text"],  # "" = the clock is somebody else's
    "ntp.period": ["1 day", "duration"],  # between two settings of the clock
    "services.update": [True, "bool"],  # the whole service
    "tls.ca": [[], "files"],  # PEM or DER files of the authorities to trust, one or many in each; https needs one
    "tls.cert": ["", "file"],  # PEM or DER file of the device's own certificate, where the server wants one
    "tls.key": ["", "file"],  # file of its key
    "tls.plain": [False, "bool"],  # true: http too, which anybody on the way can read and change; no token goes over it
    "tls.verify": [True, "bool"],  # false: the server is NOT verified, anybody can be it
    "trial.limit": ["5 mins", "limit"],  # self-tests and check-in of a first boot, together
    "trial.selftest": ["1 min", "limit"],  # each self-test
    "update.schedule": ["anytime", "window"],  # when to check in and download
    "update.apply": ["anytime", "window"],  # when device:update is signalled
    "update.period": ["1 day", "duration"],  # least time between two check-ins
    "update.jitter": ["1 hour", "duration"],  # spread of a fleet: in the window, after power-on, beyond the period
    "update.throttle": [20, "ms"],  # milliseconds after each 4 KiB; 0 = none
    "update.keys": [[], "files"],  # PEM or DER files of public keys; with any, nothing unsigned is installed
    "update.alone": ["needed", "never needed always"],  # check in without the application
    "update.attempts": [3, (1, 100)],  # of one update, before it is remembered as failed
    "update.retry": ["10 mins", "duration"],  # pause before another attempt after a rollback
    "update.transport": ["asyncio", "asyncio urequests"],  # urequests blocks the loop and does not verify
    "update.script": ["scripts/update", "name"],  # Linux: run with the path of the verified file
    "update.slot": ["update.bin", "name"],  # Linux: that file
    "update.slotSize": [104857600, (1, 1 << 40)],  # Linux: bytes it may have
    "wifi.ssid": ["", "text"],  # "" = the link is somebody else's
    "wifi.password": ["", "text"],  # of that network
    "wifi.hostname": ["", "text"],  # under which the board appears in it; "" = the port's own
    "wifi.timeout": ["30 secs", "limit"],  # to wait for the link
}

MOST_BYTES = 16384  # of a file


class ConfigError(ValueError):
    """Invalid configuration; the text names the file, key and value, and says what is allowed."""
