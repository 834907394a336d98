"""What is frozen into a firmware of one's own: the agent, and a device's folder with boot.py, main.py and its settings.

A broken lib/, main.py or file system then still starts, checks in and updates. IOTO_DEVICE names the folder,
absolutely, after `ioto freeze` has been there:

    make -C ports/esp32 BOARD_DIR=.../firmware/boards/IOTO_ESP32 IOTO_DEVICE=$PWD/thermo
"""

import os

device = os.environ.get("IOTO_DEVICE", "")
if not os.path.isfile(os.path.join(device, "ioto_build.py")):
    raise ValueError("IOTO_DEVICE=%s: has to name a folder of `ioto init` in which `ioto freeze` has been" % device)
include("$(PORT_DIR)/boards/manifest.py")
files = include.__self__.files()  # of the same name there may be one only
files[:] = [each for each in files if each.target_path != "_boot.py"]
module("_boot.py", opt=3)
package("ioto", base_path="../lib", opt=3)
module("boot.py", base_path=device, opt=3)
module("main.py", base_path=device, opt=3)  # it runs instead of a file main.py; leave it out to keep that
module("ioto_build.py", base_path=device, opt=3)
