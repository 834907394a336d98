"""The operators' web page at /web/: thin routes to the command line's functions, with templates and static files.

All pages have the same path depth and all links are relative, so a reverse proxy may serve them under any path.
"""
