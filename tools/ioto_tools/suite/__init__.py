"""The on-board suite of `ioto board test`: its checks run on a board and show whether it behaves like a virtual one.

`onboard/` runs on the board, one module per check. `run_checks` copies it there and collects the results, `servers` has
the servers for the board, and `format_results` formats the results.
"""
