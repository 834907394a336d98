"""Frozen in the chip: nothing of it is measured."""
