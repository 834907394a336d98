"""The HTTP API for operators' programs, with the functions of the command line.

operations.py defines it as a table; routes.py makes the routes, openapi.py the OpenAPI document, fields.py validates
requests.
"""
