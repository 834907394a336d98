"""The host side: image formats, virtual board, device cloud, command line."""
