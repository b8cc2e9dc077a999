"""Places on the command line are read as they are written; what cannot be read is answered with what can."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments import CONF
from experiments.config.merge import register_schemas
from experiments.config.overrides import advice, for_hydra, quoted, refuse_slips

ODD = [
    "/runs/epoch=3-step=10",
    "/a,b",
    "/with space/x",
    "/a (1)/x",
    "/[draft]/{x}",
    "/modèle/型",
    "~/models/x",
    "/it's/x",
    '/say "hi"',
    "/a#b;c&d!",
    "/100%/^x<y>",
    "/back\\slash=",
    "1e3",
    "007",
    "true",
    "[a, b]",
    "range(0,2)",
    "org/name@main",
    "/plain/path+org/name",
]


def composed(*words: str) -> dict[str, object]:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("merge", overrides=for_hydra(words))
    return {"pre": config.family.pre, "experts": dict(config.family.experts), "output": config.output}


def values(*words: str) -> list[object]:
    """What Hydra reads of every word, without the time that a composition takes."""
    return [OverridesParser.create().parse_override(word).value() for word in for_hydra(words)]


@pytest.mark.parametrize("place", ODD)
def test_a_place_is_what_the_user_wrote(place: str) -> None:
    assert values(f"family.pre={place}", f"output={place}", f"+family.experts.math={place}") == [place] * 3
    if place not in (
        "[a, b]",
        "range(0,2)",
        "1e3",
        "007",
        "true",
    ):  # Expressions to Hydra where they stand in a mapping.
        assert values(f"family.experts={{math: {place}, code: /b=2}}") == [{"math": place, "code": "/b=2"}]


def test_a_configuration_has_the_places_that_the_user_wrote() -> None:
    place = "/it's/(1), é=[x]"
    words = [f"family.pre={place}", f"output={place}", f"+family.experts.math={place}", "+family.experts.code=/b=2"]
    assert composed(*words) == {"pre": place, "output": place, "experts": {"math": place, "code": "/b=2"}}


def test_quotes_and_escapes_of_hydra_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/x=1")
    words = ["family.pre='/a=1'", r"output=/a\,b", "family.experts={math: '/x, y: z', code: \"/q\"}"]
    assert composed(*words) == {"pre": "/a=1", "output": "/a,b", "experts": {"math": "/x, y: z", "code": "/q"}}
    assert composed("family.pre=${oc.env:PLACE}/y", "output=o")["pre"] == "/x=1/y"


@pytest.mark.parametrize(
    "word",
    [
        "family.base=null",
        "lam=1e3",
        "lam={math: 0.5}",
        "methods=[ta, ties]",
        "out=runs/mine",
        "family.pre=",
        "family.experts={math: DIR, code: DIR}",
        "family.experts={nothing}",
        "--multirun",
        "title=a=b",
    ],
)
def test_other_words_stay(word: str) -> None:
    assert for_hydra([word]) == [word]


def test_with_several_jobs_a_comma_divides_them() -> None:
    assert for_hydra(["--multirun", "model=/a,/b", "out=/x=1"]) == ["--multirun", "model=/a,/b", "out='/x=1'"]
    assert for_hydra(["model=/a,/b"]) == ["model='/a,/b'"]


@pytest.mark.parametrize("word", ["name=a=b", "title=it's (1), naïve", "x={a: /p=1, b: /q r}"])
def test_the_advice_can_be_pasted(word: str) -> None:
    assert word.partition("=")[2] in advice(word)
    pasted = re.search(r"quotes inside the quotes help: (.*)$", advice(word))
    assert pasted is not None
    (better,) = shlex.split(pasted[1])
    value = OverridesParser.create().parse_override(better).value()
    assert value == ({"a": "/p=1", "b": "/q r"} if word.startswith("x=") else word.partition("=")[2])


def test_what_no_quotes_help_is_said() -> None:
    assert "letters from a to z" in advice("family.experts.modèle=x")
    assert "lists in quotes" in advice("methods=[")
    assert "lists in quotes" in advice("methods={a")


@pytest.mark.parametrize(
    ("word", "better"),
    [
        ("family.experts=[/m]", "'family.experts={math: /m}'"),
        ("family.experts=DIR", "--expert math=DIR"),
        ("+family.experts=DIR", "--expert math=DIR"),
        ("+recipe=FILE", "write recipe=FILE output=NEW_DIR"),
        ("lam=0.5,1.0", "lata sweep 'lambdas=[0.5,1.0]'"),
        ("lam=[0.5,1]", "lata sweep 'lambdas=[0.5,1]'"),
    ],
)
def test_what_hydra_reads_as_something_else_is_said_with_what_to_write(word: str, better: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole line is looked at
        refuse_slips([word], named_experts=True)
    assert better in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_means_what_it_says_is_no_slip() -> None:
    words = ["lam={math: 0.5, code: 1}", "lam=0.5", "lam=", "family.experts={a: x, b: y}", "recipe=FILE", "lam=${x}"]
    refuse_slips(words, named_experts=True)
    refuse_slips(["family.experts=[math, code]"], named_experts=False)
    refuse_slips(["--multirun", "lam=0.5,1.0"], named_experts=True)


@pytest.mark.parametrize("text", ["", "\\", "a\\'b", "'", "\\\\'", Path("/a\\").as_posix()])
def test_a_quoted_text_is_that_text(text: str) -> None:
    assert OverridesParser.create().parse_override(f"a={quoted(text)}").value() == text
