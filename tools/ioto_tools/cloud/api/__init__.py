"""The HTTP API for operators: the functions of the command line, for programs and for the web page.

operations.py defines it as a table; routes.py makes the routes, openapi.py the OpenAPI document, fields.py validates
requests.
"""
