"""Freeze the agent, and boot.py, main.py and the settings of a device's folder, into custom firmware.

A board with it starts, checks in and updates even with a broken lib/, main.py or file system. Run `ioto freeze` in the
folder, then set IOTO_DEVICE to its absolute path:

    make -C ports/esp32 BOARD_DIR=.../firmware/boards/IOTO_ESP32 IOTO_DEVICE=$PWD/thermo
"""

import os

device = os.environ.get("IOTO_DEVICE", "")
if not os.path.isfile(os.path.join(device, "ioto_build.py")):
    raise ValueError(
        "IOTO_DEVICE=%s: not a folder with ioto_build.py: run `ioto freeze FOLDER`, then set its absolute path" % device
    )
include("$(PORT_DIR)/boards/manifest.py")
files = include.__self__.files()  # each name may occur only once
files[:] = [each for each in files if each.target_path != "_boot.py"]
module("_boot.py", opt=3)
package("ioto", base_path="../lib", opt=3)
module("boot.py", base_path=device, opt=3)
module(
    "main.py", base_path=device, opt=3
)  # runs instead of main.py in the file system; remove this line to run that one
module("ioto_build.py", base_path=device, opt=3)
