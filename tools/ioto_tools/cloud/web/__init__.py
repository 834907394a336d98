"""The operators' web page at /web/: thin routes to the command line's functions, templates and static files.

All pages have the same path depth and all links are relative, so they work below any path of a reverse proxy.
"""
