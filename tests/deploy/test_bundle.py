"""Joining modules: every name is defined, the meaning is the same, and an error names what can't be joined."""

import ast
import builtins
import symtable

import pytest
from ioto_tools.deploy import agent_build
from ioto_tools.deploy.agent_build import bundled_files
from ioto_tools.deploy.bundle import BundleError, bundle

# setup.py imports one of these, depending on the port.
EITHER = {
    ("linux", "board"),
    ("linux", "otadata"),
    ("linux", "starts"),
    ("linux", "details"),
    ("linux", "diary"),
    ("linux", "wifi"),
    ("esp32", "linux"),
}


def asked(table):
    """The global names that the code of a file uses."""
    found = {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
    return found.union(*map(asked, table.get_children()))


@pytest.mark.sweep
@pytest.mark.parametrize("on", ["esp32", "linux"])
def test_every_name_in_the_joined_files_is_defined(on):
    files = bundled_files(on)
    assert set(files) == set(agent_build.FILES) ^ (
        {"linux", "details", "diary", "otadata", "starts"} if on == "linux" else set()
    )
    there = {}
    for name, (text, _) in files.items():
        table = symtable.symtable(text, name, "exec")
        there[name] = {
            s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()
        }
        assert not asked(table) - there[name] - {*dir(builtins), "__file__"}, name
    for name, (text, _) in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level and (on, node.module) not in EITHER:
                known = there[node.module] if node.module else there["__init__"] | set(files)
                assert not {alias.name for alias in node.names} - known, name


SOURCES = {
    "__init__": "from .log import log\n__version__ = '1.2.3'\n",
    "log": "said = []\ndef log(text):\n    said.append(text)\n",
    "cron": "'''Five fields.'''\nMOST = 5\n_UNIT = 60\nWORDS = ('once',)\ndef for_the_host():\n    return "
    "WORDS\ndef parse(text):\n    return text.split()[:MOST], _UNIT\n",
    "zone": """
_UNIT = 3600
LIMITS = (1, 2)
def parse(text):
    return text, _UNIT
class Zone:
    def log(self, unit):
        return LIMITS
""",
    "start": """
import json
from . import __version__, cron
from .log import log
from .zone import Zone, parse as zone_of
def start(text):
    from . import far
    log(__version__)
    return cron.parse(text), cron.MOST, zone_of(text), json.loads('1'), far.away()
""",
    "far": """
import json
from .cron import MOST, parse
from .zone import parse as other
def away():
    return parse('a b'), other('c'), MOST
""",
}
FILES = {"__init__": ["__init__", "log"], "start": ["start", "cron", "zone"], "far": ["far"]}


def linked(sources):
    return {file: text for file, (text, _) in bundle(sources, FILES).items()}


def test_it_means_the_same(tmp_path, monkeypatch):
    """The modules and the joined file return the same results."""
    said = {}
    monkeypatch.syspath_prepend(str(tmp_path))
    for package, files in (("apart", SOURCES), ("together", linked(SOURCES))):
        (tmp_path / package).mkdir()
        for name, text in files.items():
            (tmp_path / package / (name + ".py")).write_text(text)
        start = __import__(package + ".start", fromlist=["start"])
        said[package] = start.start("1 2 3 4 5 6"), start.Zone().log(0), __import__(package).__version__
    assert said["apart"] == said["together"]
    assert said["apart"][0] == (
        (["1", "2", "3", "4", "5"], 60),
        5,
        ("1 2 3 4 5 6", 3600),
        1,
        ((["a", "b"], 60), ("c", 3600), 5),
    )


def test_shared_names_occur_once_and_unreferenced_ones_never():
    text = linked(SOURCES)["start"]
    assert (
        "Five fields" not in text
        and "_UNIT" not in text
        and "MOST" not in text
        and "LIMITS" not in text
        and text.count("import json") == 1
    )
    assert "for_the_host" not in text and "WORDS" not in text and "class Zone" in text
    assert "for_the_host" in linked({**SOURCES, "far": SOURCES["far"] + "from .cron import for_the_host\n"})["start"]
    assert "def parse_cron" in text and "def parse_zone" in text and "from . import __version__, log" in text
    assert "from .start import parse_cron as parse, parse_zone as other" in linked(SOURCES)["far"]


@pytest.mark.parametrize("module, text, says", [
    ("start", "from . import cron\ndef f(cron):\n    return cron\n", "start: line 2: cron"),
    ("start", "from .cron import parse\ndef f():\n    for parse in ():\n        pass\n", "start: line 3: parse"),
    ("start", "from . import cron\ndef f():\n    parse_cron = 1\n    return cron.parse('')\n",
        "start: line 3: parse_cron"),
    ("start", "from .cron import MOST\ndef f():\n    import MOST\n", "start: line 3: MOST"),
    ("zone", "def parse(text):\n    def g():\n        parse = 1\n", "zone: line 3: parse"),
    ("zone", "parse = 1\ndef g():\n    global parse\n    parse += 1\n", "zone: line 3: parse"),
    ("zone", "def parse(text):\n    try:\n        pass\n    except ValueError as parse:\n        pass\n",
        "zone: line 4: parse"),
    ("zone", "def parse(text):\n    pass\nclass Zone:\n    parse = 1\n", "zone: line 4: parse"),
    ("start", "parse_cron = ()\n", "start: parse_cron"),
    ("start", "def away():\n    from .far import away\n    return away()\n", "start: line 2: away is defined in it"),
    ("start", "from os import json\nfrom .far import json\n", "far: json is not defined"),
    ("start", "import json\nfrom os import json\n", "start: json"),
    ("start", "from .cron import log\n", "cron: log is not defined"),
    ("zone", "import gc\ngc.threshold(4096)\ndef parse(text):\n    pass\n",
        "zone: gc.threshold.4096. would not be executed"),
])  # fmt: skip
def test_sources_that_cannot_be_joined_are_refused(module, text, says):
    with pytest.raises(BundleError, match="^" + says):
        bundle({**SOURCES, module: text}, FILES)
