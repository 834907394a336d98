"""The operators' page at /web/: thin routes over the functions that the command line uses, templates, a few static files.

Every page lies at the same depth and every link is relative, so the page works behind any path of a proxy.
"""
