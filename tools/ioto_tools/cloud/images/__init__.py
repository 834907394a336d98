"""Images in a folder or an S3-compatible store, and the links to them."""
