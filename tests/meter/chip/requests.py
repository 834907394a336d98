"""Frozen in the chip, so it is not measured."""
