"""Runs in an environment of its own, with the tools to compare with: packed_tools.py BASE NEW prints {tool: bytes}."""

import io
import json
import sys
from pathlib import Path

import bsdiff4
import detools
import zstandard

base, new = (Path(name).read_bytes() for name in sys.argv[1:])


def detools_bytes(compression):
    patch = io.BytesIO()
    detools.create_patch(io.BytesIO(base), io.BytesIO(new), patch, compression=compression)
    return len(patch.getvalue())


def zstd_bytes():
    parameters = zstandard.ZstdCompressionParameters.from_level(19, window_log=23, enable_ldm=True)
    prefix = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return len(zstandard.ZstdCompressor(compression_params=parameters, dict_data=prefix).compress(new))


print(
    json.dumps(
        {
            "detools, heatshrink": detools_bytes("heatshrink"),
            "bsdiff4": len(bsdiff4.diff(base, new)),
            "zstd --patch-from": zstd_bytes(),
            "detools, lzma": detools_bytes("lzma"),
        }
    )
)
