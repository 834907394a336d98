"""What is frozen into the firmware: the agent and boot.py, so that a broken lib/ still starts, checks in and updates.

Give it to MicroPython's build: make -C ports/esp32 BOARD_DIR=.../firmware/boards/IOTO_ESP32
"""

include("$(PORT_DIR)/boards/manifest.py")
package("ioto", base_path="../lib", opt=3)
module("boot.py", base_path="..", opt=3)
# Your application frozen too: then a broken file system loses nothing but settings. A frozen main.py runs instead of the file.
# module("main.py", base_path="..", opt=3)
