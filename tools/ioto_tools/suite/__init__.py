"""The on-board suite of `ioto board test`: it checks, on the board, whether it behaves as the virtual board does.

`onboard/` runs on the board, one module per check. `run_checks` copies it there and collects the results, `servers` has
the servers for the board, and `format_results` formats the results.
"""
