"""The lists in the pages agree with the code: phases, reasons, events, modules, links."""

import ast
import re
from pathlib import Path

import pytest
from ioto.errors import REASONS
from ioto.update import PHASES
from ioto_tools.deploy.agent_build import FILES, agent_sources

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"


def test_table_of_phases():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", (DOCS / "internals.md").read_text(), re.M)
    assert {a: [b, c] for a, b, c in rows} == PHASES


def test_every_reason_is_explained():
    rows = re.findall(r"^\| `(\w+)` \| .+ \|$", (DOCS / "events.md").read_text(), re.M)
    assert tuple(rows) == REASONS


def test_every_event_is_explained_and_signalled():
    page = (DOCS / "events.md").read_text().split("## Deciding")[0]
    told = set(re.findall(r"`((?:app|cloud|device):[a-z:]+)`", page))
    code = "".join(f.read_text() for f in (ROOT / "lib" / "ioto").glob("*.py"))
    signalled = set(re.findall(r'"((?:app|cloud|device):[a-z:]+)"', code))
    assert told == signalled


def test_every_reason_is_used():
    code = "".join(f.read_text() for f in (ROOT / "lib" / "ioto").glob("*.py") if f.name != "errors.py")
    assert not [r for r in REASONS if '"%s"' % r not in code]


def test_table_of_modules_is_complete_and_in_import_order():
    """Each module of lib/ioto is listed once, with its file, and imports only modules listed after it."""
    page = (DOCS / "internals.md").read_text().split("| modules | file |")[1].split("\n\n")[0]
    rows = [(re.findall(r"`(\w+)`", a), b.strip(" `")) for a, b in re.findall(r"^\| (`.+?) \|(.*?)\|", page, re.M)]
    order = [module for modules, _ in rows for module in modules]
    texts = agent_sources()
    assert sorted(order) == sorted(texts)
    home = {module: file for file, modules in FILES.items() for module in modules}
    assert {m: file or m for modules, file in rows for m in modules} == {m: home.get(m, m) for m in texts}
    imported = [(a, b) for a, text in texts.items() for b in imports(text, texts)]
    assert [(a, b) for a, b in imported if order.index(a) >= order.index(b)] == []


def imports(text, modules):
    """The agent's modules that a module imports, at its top, in functions and as the part of a step."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            for alias in node.names:
                yield node.module or (alias.name if alias.name in modules else "__init__")
    yield from re.findall(r'\.do\("(\w+)"', text)


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT).as_posix() for p in [ROOT / "README.md", *DOCS.glob("*.md")])
)
def test_links_lead_to_existing_pages(page):
    path = ROOT / page
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text()):
        assert link.startswith("http") or (path.parent / link).exists(), "%s links to %s" % (page, link)


def test_example_of_the_virtual_board_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", (DOCS / "virtual-board.md").read_text(), re.S)[1]
    exec(compile(code, "virtual-board.md", "exec"), {})
    assert capsys.readouterr().out == "1/VALID - time ['main.py']\n"


def test_count_of_replayed_scenarios():
    import importlib.util
    import json

    page = (DOCS / "virtual-board.md").read_text()
    scenarios = json.loads((ROOT / "tests" / "virtual_board" / "groundtruth.json").read_text())
    assert "%d scenarios" % len(scenarios) in page
    source = (ROOT / "tests" / "virtual_board" / "test_groundtruth.py").read_text()
    table = re.search(r"LEFT_OUT = \{(.*?)\n\}", source, re.S)[1]
    assert (table.count('"*"'), len(re.findall(r"^    \(", table, re.M)) - table.count('"*"')) == (3, 3)
    assert "Three whole scenarios and\nthree single observations are left out" in page
    assert importlib.util.find_spec("ioto_tools.virtual_board")
