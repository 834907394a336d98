"""The heap used by the agent, in bytes as on the chip (tests/meter)."""

from ioto_tools.deploy.agent_build import compiled_files

from tests.meter import measure
from tests.meter.mpy import functions


def main():
    if measure.MISSING:
        print("Heap: not measured. " + measure.MISSING)
        return
    print(
        "%-18s %7s %10s %9s %10s %8s %8s %8s"
        % ("file", "bytes", "functions", "bytecode", "heap", "besides", "garbage", "stays")
    )
    for file, part in measure.parts().items():
        code = functions(compiled_files()[file])
        print(
            "%-18s %7d %10d %9d %10d %8d %8d %8d"
            % (file, part.file_bytes, len(code), sum(code), part.live, part.live - sum(code), part.garbage, part.stays)
        )
    print(
        "  heap: live after the import; besides: without the bytecode; stays: after the part is released, mostly names"
    )
    for name, figure in measure.figures().items():
        print("%-58s %7d" % (name, figure))
    print("Each module compiled separately: file, heap used, heap without the bytecode")
    for name, (size, live, code) in sorted(measure.modules().items(), key=lambda each: -each[1][1]):
        print("  %-14s %6d %6d %6d" % (name, size, live, live - code))
