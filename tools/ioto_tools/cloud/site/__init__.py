"""A site: its folder and settings, backup and migration, certificates, housekeeping."""
