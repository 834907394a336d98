"""A site: its folder and settings, backup and migration, certificates, what is deleted when it is old."""
