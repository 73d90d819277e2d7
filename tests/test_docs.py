"""The documents are true: what they point at exists, what they say to type works, and their example is a feature."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import cli
from service.config import OPTIONS, Option
from service.kernel import metrics, migrate

ROOT = Path(__file__).parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
FEATURES = (ROOT / "docs/features.md").read_text(encoding="utf-8")
DEPENDENCIES = (ROOT / "docs/decisions/0004-dependencies.md").read_text(encoding="utf-8")

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)\s]*)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
COMMAND = re.compile(r"python -m service ([a-z][^`\n]*)")
# Where a command of the shell ends.
END = frozenset({"|", ">", ">>", "&&", ";"})
SAID = re.compile(r"\.(?:warning|error|exception)\(\s*\"([^\"]+)\"")
# A file of the example: its path in bold, then all of it.
FILE = re.compile(r"^\*\*`(?P<path>[^`]+)`\*\*\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = HEADING.findall(FENCED.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(FENCED.sub("", path.read_text(encoding="utf-8"))):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{named(target)} has no heading for #{anchor}"


def test_every_document_is_linked_from_another() -> None:
    links = ((path, link) for path in DOCS for link in LINK.findall(path.read_text(encoding="utf-8")))
    linked = {(path.parent / link.partition("#")[0]).resolve() for path, link in links}
    assert not {named(path) for path in DOCS if path not in linked} - {"README.md"}


def commands() -> Iterator[tuple[str, ...]]:
    """What documents, platforms and the Makefile say to type after `python -m service`."""
    for path in (*DOCS, ROOT / "render.yaml", ROOT / "Procfile"):
        for command in COMMAND.findall(path.read_text(encoding="utf-8")):
            words = shlex.split(command, comments=True)
            yield tuple(words[: next((at for at, word in enumerate(words) if word in END), len(words))])


@pytest.mark.parametrize("words", sorted(set(commands())), ids=" ".join)
def test_a_command_is_one(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is read as if to be run; what would be done is kept from being done."""
    monkeypatch.setattr(cli, "_run", lambda arguments, _config: callable(arguments.run))
    assert cli.main(words)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_the_table_of_settings_is_the_programs(option: Option) -> None:
    default = f"`{option.default}`" if option.default else "none"
    if option.in_production:
        default += f"; production `{option.in_production}`"
    assert f"| `{option.name}` | {default} | {option.meaning} |" in OPERATIONS.splitlines()


def test_the_table_has_no_setting_that_is_none() -> None:
    table = OPERATIONS.partition("## Settings")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == {option.name for option in OPTIONS}


def test_every_warning_and_error_is_explained() -> None:
    said = {line for path in (ROOT / "service").rglob("*.py") for line in SAID.findall(path.read_text())}
    assert "database away" in said
    assert not {line for line in said if f"| `{line}` |" not in OPERATIONS}


def test_every_metric_is_listed() -> None:
    kinds = {"counter": "_total", "info": "_info"}
    names = {f"{metric.name}{kinds.get(metric.type, '')}" for metric in metrics.REGISTRY.collect()}
    listed = set(re.findall(r"^\| `(ballast_\w+)`", OPERATIONS, re.MULTILINE))
    assert listed == names


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_has_its_reason(file: str) -> None:
    section = DEPENDENCIES.partition(f"({file})")[2].partition("## ")[0]
    pinned = re.findall(r"^([a-z-]+)(?:\[\w+\])?==[\w.]+$", (ROOT / file).read_text(), re.MULTILINE)
    assert re.findall(r"^\| ([a-z-]+) \|", section, re.MULTILINE)[1:] == pinned


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    """A copy of this repository with the example of docs/features.md put in, as the document says."""
    for folder in ("service", "sql", "migrations", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "catalog.toml"):
        shutil.copy(ROOT / file, tmp_path)
    number = migrate.new("notes", tmp_path / "migrations")[0].name[:4]
    for path, text in FILE.findall(FEATURES.replace("NNNN", number)):
        if text.startswith("+"):
            _add_lines(tmp_path / path, *text.replace("\n+", "\n").removeprefix("+").splitlines())
        else:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def _add_lines(path: Path, imported: str, listed: str) -> None:
    """The name goes into the import that is there, in its place."""
    text, (origin, name) = path.read_text(), imported.split(" import ")
    (names,) = re.findall(rf"^{re.escape(origin)} import (.*)$", text, re.MULTILINE)
    text = text.replace(names, ", ".join(sorted([*names.split(", "), name])), 1)
    path.write_text(text.replace("\n)\n", f"\n{listed}\n)\n", 1))


def typed(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command in the copy, without the settings of the run that we are part of."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environ = {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "PYTHONPATH": str(folder)}
    return subprocess.run(command, shell=True, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def test_the_example_is_a_feature(extended: Path) -> None:
    (landing,) = re.findall(r"^```sh\n([^`]*>> CHECKSUMS[^`]*)^```", FEATURES, re.MULTILINE)
    tests = "tests/features/test_notes.py tests/test_sql.py tests/test_migration_files.py tests/test_architecture.py"
    for command in (landing, "ruff check .", "ruff format --check .", f"python -m pytest -q -n 0 {tests}"):
        done = typed(command, extended)
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
    assert "notes" in (extended / "bootstrap.sql").read_text()


def test_the_parser_refuses_what_is_no_command() -> None:
    with pytest.raises(SystemExit):
        cli.main(["migrate", "sideways"])
