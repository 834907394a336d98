"""Measure the agent's heap in MicroPython's WebAssembly port, whose pointers have four bytes, as on the chip."""
