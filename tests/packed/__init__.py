"""Packed files: packing, and the decoder of boards."""
