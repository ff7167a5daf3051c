"""Does the documentation say what the program does?"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import run
from diascope.config import Experiment
from diascope.evaluation import NEGATIVE
from diascope.experiment import REFUSED, RunConfiguration, find_configuration, load
from diascope.heads import WEIGHT_DECAYS

ROOT = Path(__file__).resolve().parent.parent
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}
CONFIGURATION = ROOT / "docs" / "configuration.md"
REQUIRED = {
    "dataset": {"source": "images"},
    "candidates": [{"name": "first", "backbone": "MobileNetV2"}],
    "promotion": {"model": "test"},
}


# Reading Markdown


def blocks(path: Path) -> list[tuple[str, str]]:
    """Language and content of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def prose(path: Path) -> str:
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """Of every heading, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tables(path: Path) -> dict[str, dict[str, list[str]]]:
    """Rows of the tables under each heading, by what stands in their first cell."""
    found: dict[str, dict[str, list[str]]] = {}
    heading = ""
    for line in prose(path).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").replace("`", "")
        elif line.startswith("| "):
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(heading, {})[cells[0].strip("`")] = cells[1:]
    return found


def commands(path: Path) -> list[list[str]]:
    """Arguments of every `run.py` in the blocks."""
    lines = "\n".join(content for _, content in blocks(path)).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if "run.py --" in line]
    return [each[each.index("run.py") + 1 :] for each in words]


# Reading the schema


def plain(annotation: Any) -> Any:
    """A type without `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        rest = [each for each in get_args(annotation) if each is not NoneType]
        return plain(rest[0]) if len(rest) == 1 else annotation
    return annotation


def subsection(field: FieldInfo) -> tuple[type[BaseModel] | None, str]:
    """The section that a key holds, and what stands in a path for the place in a list or mapping."""
    annotation, place = plain(field.annotation), ""
    if get_origin(annotation) in (list, dict):
        place = ".N" if get_origin(annotation) is list else ".NAME"
        annotation = plain(get_args(annotation)[-1])
    return (annotation, place) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else (None, "")


def sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section below a model with its dotted path."""
    yield path or "parameters", model
    for name, field in model.model_fields.items():
        inner, place = subsection(field)
        if inner:
            yield from sections(inner, f"{path}.{name}{place}".lstrip("."))


def all_sections() -> list[tuple[str, type[BaseModel]]]:
    top = [("Top level", RunConfiguration)]
    for name, field in RunConfiguration.model_fields.items():
        inner, place = subsection(field)
        if inner and name != "parameters":
            top.append((name + place, inner))
    return top + list(sections(Experiment, ""))


KEYS = [(section, key, model) for section, model in all_sections() for key in model.model_fields]


def bounds(schema: Any) -> set[str]:
    """Every limit and every allowed value in a field's JSON schema, its own sections left out."""
    found: set[str] = set()
    if isinstance(schema, list):
        return found.union(*map(bounds, schema))
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
                found.add(str(value).removesuffix(".0"))
            elif name in ("enum", "const"):
                found |= {str(each) for each in (value if isinstance(value, list) else [value])}
            elif name != "default":
                found |= bounds(value)
    return found


# Keys


@pytest.mark.parametrize(("section", "key", "model"), KEYS)
def test_every_key_is_described_with_its_default(section, key, model):
    rows = tables(CONFIGURATION)
    assert section in rows, f"there is no table under a heading {section!r}"
    assert key in rows[section], f"{section} does not describe {key!r}"
    kind, default, _ = rows[section][key]
    field = model.model_fields[key]

    actual = field.get_default(call_default_factory=True)
    if field.is_required():
        assert default == "required"
    elif isinstance(actual, BaseModel):
        assert default == "all defaults"
        assert actual == type(actual)()
    else:
        assert yaml.safe_load(default.strip("`")) == actual
        assert default.startswith("`")
    assert kind


@pytest.mark.parametrize(("section", "key", "model"), KEYS)
def test_every_limit_and_choice_is_described(section, key, model):
    text = CONFIGURATION.read_text(encoding="utf-8")
    within = text.split(f"\n### `{section}`\n")[-1].split("\n### ")[0]
    row = " ".join([key, *tables(CONFIGURATION)[section][key]])
    schema = model.model_json_schema()["properties"][key]

    for value in bounds(schema):
        described = within if "see below" in row or "mapping" in row else row
        assert re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.]*\d)", described), f"{section}.{key}: {value}"


def test_no_other_key_is_described():
    rows = [(section, key, row) for section, table in tables(CONFIGURATION).items() for key, row in table.items()]

    described = {(section, key) for section, key, row in rows if len(row) == 3 and key != "key"}

    assert described == {(section, key) for section, key, _ in KEYS}


def test_what_is_listed_in_prose_is_what_the_program_has():
    text = " ".join(prose(CONFIGURATION).split())

    for name in NEGATIVE | set(REFUSED):
        assert f"`{name}`" in text
    assert "tries 10⁻⁸, 10⁻⁷, …, 10⁻¹ for `logistic`" in text
    assert WEIGHT_DECAYS[0] == pytest.approx(1e-8)
    assert WEIGHT_DECAYS[-1] == pytest.approx(1e-1)


# Snippets, commands and links


@pytest.mark.parametrize(
    ("page", "text"),
    [(name, content) for name, path in PAGES.items() for language, content in blocks(path) if language == "yaml"],
)
def test_every_configuration_snippet_is_right(tmp_path, page, text):
    """A whole experiment, or some of its parameters."""
    said = yaml.safe_load(text)
    if "parameters" not in said:
        rest = {key: value for key, value in REQUIRED.items() if key not in said}
        text = "parameters:\n" + indent(f"{text}\n{yaml.safe_dump(rest) if rest else ''}", "  ")
    path = tmp_path / "snippet.yaml"
    path.write_text(text, encoding="utf-8")

    load(path)


@pytest.mark.parametrize(
    ("page", "arguments"), [(name, arguments) for name, path in PAGES.items() for arguments in commands(path)]
)
def test_every_command_is_accepted(page, arguments):
    options = run._parse(arguments)

    load(find_configuration(options.config, ROOT / "configs"), options.set)


def test_there_are_commands_and_snippets():
    assert sum(len(commands(path)) for path in PAGES.values()) >= 6
    assert sum(language == "yaml" for path in PAGES.values() for language, _ in blocks(path)) >= 10


@pytest.fixture
def known_options(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setenv("COLUMNS", "1000")  # no option is broken over two lines
    with pytest.raises(SystemExit):
        run._parse(["--help"])
    return set(re.findall(r"(?<!\w)--[a-z-]+", capsys.readouterr().out))


@pytest.mark.parametrize("page", PAGES)
def test_every_option_in_the_text_exists(page, known_options):
    codes = re.findall(r"`([^`\n]+)`", prose(PAGES[page]))
    options = {code.split()[0] for code in codes if code.startswith("--")}
    options |= {word for code in codes if "run.py " in code for word in code.split() if word.startswith("--")}

    assert options <= known_options


def test_every_option_is_described(known_options):
    described = {cell.split()[0] for cell in tables(CONFIGURATION)["Command line"] if cell.startswith("--")}

    assert described == known_options - {"--help"}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    path = PAGES[page]
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if not re.match(r"[a-z]+:", link):
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), f"{page} links to {link}"
            assert not anchor or anchor in anchors(target), f"{page} links to {link}"
