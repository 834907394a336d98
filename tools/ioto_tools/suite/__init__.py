"""The on-board suite of `ioto board test`: checks on the board itself what the virtual board promises.

`onboard/` runs on the board, one module a check; `run` brings it there and collects, `host` is what the board talks to,
`table` puts what was found into words.
"""
