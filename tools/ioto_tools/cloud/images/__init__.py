"""Image stores (a folder, or S3-compatible) and the links to images."""
