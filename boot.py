"""Boot protection that works even if everything else is broken.

An image on its first boot gets a watchdog before any module of the agent is imported: if anything fails, the board
resets and the bootloader rolls back to the old image. In safe mode the agent runs without main.py and applies the
updates it is offered. If memory is short, boot.py runs a check-in without main.py.
"""

SAFE_RESETS = 5  # safe mode after more than this number of failed starts in a row; 0 = never
# Or after more than this number of soft resets in a row without a good start; a user at the prompt makes a few.
SAFE_SOFT_RESETS = 100
SAFE_PIN = None  # or while this GPIO is low at the start
# Maximum starts of an image on trial, including soft resets and wakes from deep sleep; then it is rolled back.
TRIAL_STARTS = 3


def read_int(nvs, key):
    try:
        return nvs.get_i32(key)
    except OSError:
        return 0


def count_start(nvs, cause):
    """Count the starts by cause, for the agent's next check-in."""
    try:
        nvs.set_i32("start%d" % cause, read_int(nvs, "start%d" % cause) + 1)
    except OSError:  # the NVS is full, which must not stop the rest
        pass


def count_as_good_later(machine, nvs, n):
    """A start is good after 10 seconds, unless the watchdog or an exception of main.py ends it within 10 minutes."""

    def after_10_s(timer):
        nvs.set_i32("resets", -n)
        nvs.set_i32("soft", 0)
        timer.init(mode=machine.Timer.ONE_SHOT, period=590000, callback=after_10_min)

    def after_10_min(timer):
        nvs.set_i32("resets", 0)

    for number in (3, 1, 0):  # the highest timer of this chip, since applications start with 0
        try:
            return machine.Timer(number).init(mode=machine.Timer.ONE_SHOT, period=10000, callback=after_10_s)
        except ValueError:
            pass


def needs_safe_mode(nvs, is_continued):
    """Does safe mode start now?

    Wakes from deep sleep (`is_continued`) do not count as starts; soft resets are counted separately.
    """
    if SAFE_PIN is not None and not machine.Pin(SAFE_PIN, machine.Pin.IN, machine.Pin.PULL_UP).value():
        return True
    n, soft, before = read_int(nvs, "resets"), 0, read_int(nvs, "soft")
    if not is_continued:
        n = 1 + (n if n > 0 else -n if machine.reset_cause() == machine.WDT_RESET else 0)
    elif machine.reset_cause() == machine.SOFT_RESET:
        soft = before + 1
    is_safe = SAFE_RESETS > 0 and (n > SAFE_RESETS or soft > SAFE_SOFT_RESETS)
    if is_safe:  # after safe mode, main.py gets the full number of starts again
        n = soft = 0
    if is_safe or not is_continued:
        nvs.set_i32("resets", n)
    if soft != before:
        nvs.set_i32("soft", soft)
    if n or soft:
        count_as_good_later(machine, nvs, abs(n))
    return is_safe


try:
    import machine
    from esp32 import NVS, Partition

    trial, record = False, bytearray(32)
    for otadata in Partition.find(Partition.TYPE_DATA, 0):
        for sector in (0, 1):
            otadata.readblocks(sector, record, 0)
            if record[24:28] == b"\x01\x00\x00\x00":  # ESP_OTA_IMG_PENDING_VERIFY
                trial = machine.WDT(timeout=120000)
    nvs = NVS("ioto")
    if machine.reset_cause() != machine.DEEPSLEEP_RESET:  # a board that sleeps must not wear out its flash
        count_start(nvs, machine.reset_cause())
    is_continued = machine.reset_cause() in (machine.DEEPSLEEP_RESET, machine.SOFT_RESET)
    alone = read_int(nvs, "alone")
    if alone:
        nvs.set_i32("alone", 0)  # only once: the next boot runs main.py, whatever happens in this one
    if trial:
        n = read_int(nvs, "trial") + 1 if is_continued else 1
        nvs.set_i32("trial", n)
        if n > TRIAL_STARTS:
            machine.reset()
    # Not during a trial, where only the application confirms the image.
    elif not alone and needs_safe_mode(nvs, is_continued):
        from ioto.start import safe_mode

        safe_mode()
    if alone:  # requested by the agent, see lib/ioto/alone.py
        import ioto.start

        ioto.start.alone()
except (ImportError, OSError):  # not an ESP32, or the NVS is full
    pass
except Exception as e:  # safe mode fails too: an exception raised here would prevent main.py from running
    print("boot.py: %r" % e)
