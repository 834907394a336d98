"""Measure the agent's heap with the chip's pointer size, in MicroPython's WebAssembly port: pointers of four bytes."""
