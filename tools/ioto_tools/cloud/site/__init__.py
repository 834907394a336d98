"""A site: its folder and settings, backup and moving, certificates, housekeeping."""
