"""The host tools: image formats, virtual board, device cloud, and command line."""
