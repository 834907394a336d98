"""The HTTP API for operators: what the command line does, for programs and for the page.

operations.py is the whole of it as a table; app.py makes routes of it, openapi.py the document, fields.py checks what comes.
"""
