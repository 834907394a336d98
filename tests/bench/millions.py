"""The table of growth.py with five million devices; needs some minutes and 2.5 GB of disk."""

from . import growth


def main():
    growth.main((*growth.SIZES, growth.MOST))
