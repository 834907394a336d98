"""The agent's heap in bytes of the chip's width: compiled files in MicroPython's WebAssembly port, which has pointers
of four bytes.
"""
