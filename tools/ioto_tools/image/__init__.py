"""ESP application images as files."""
