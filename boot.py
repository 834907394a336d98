"""What must hold even when everything else is broken.

An image on its first boot gets a watchdog before anything of ours is imported: whatever fails then, the board resets and
the bootloader goes back to the old image. In the safe mode the agent runs without main.py, and applies what it is offered.
"""

SAFE_RESETS = 5  # the safe mode after so many starts in a row that did not last 10 seconds; 0 = not at all
SAFE_PIN = None  # or while this GPIO is held low at the start


def safe():
    if SAFE_PIN is not None and not machine.Pin(SAFE_PIN, machine.Pin.IN, machine.Pin.PULL_UP).value():
        return True
    nvs = NVS("ioto")
    try:
        resets = nvs.get_i32("resets") + 1
    except OSError:
        resets = 1
    if machine.reset_cause() not in (machine.DEEPSLEEP_RESET, machine.SOFT_RESET):  # these are no starts
        nvs.set_i32("resets", resets)
        return 0 < SAFE_RESETS < resets


try:
    import machine
    from esp32 import NVS, Partition

    trial, record = False, bytearray(32)
    for otadata in Partition.find(Partition.TYPE_DATA, 0):
        for sector in (0, 1):
            otadata.readblocks(sector, record, 0)
            if record[24:28] == b"\x01\x00\x00\x00":  # ESP_OTA_IMG_PENDING_VERIFY
                trial = machine.WDT(timeout=120000)
    if not trial and safe():  # nobody but the application confirms an image
        from ioto.start import safe_mode

        safe_mode()
except (ImportError, OSError):  # not an ESP32; no room in the NVS
    pass
except Exception as e:  # the safe mode can't do it either: an exception here would keep main.py from its chance
    print("boot.py: %r" % e)
