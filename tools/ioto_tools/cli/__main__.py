"""python -m ioto_tools.cli"""

from . import main

main(prog_name="ioto")
