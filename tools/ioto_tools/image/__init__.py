"""ESP application images: formats, firmware files, signed releases, and keys."""
