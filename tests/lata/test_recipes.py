"""A recipe makes its merge again and nothing else: every way to make it do more is tried as an attack."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from folders import write

import lata
from experiments import merge as door
from lata.merging import recipes

pytestmark = pytest.mark.filterwarnings("ignore:.*no tokenizer beside its weights")

ROOT = Path(__file__).parents[2]
TOKEN = "hf_" + "aB3" * 12


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A merge of two experts; its recipe lies beside it."""
    for seed, name in enumerate(("base", "pre", "math", "code")):
        generator = torch.Generator().manual_seed(seed)
        shapes = {"model.embed_tokens.weight": (8, 4), "model.layers.0.w": (4, 4), "model.layers.1.w": (4, 4)}
        write(tmp_path / name, {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()})
    experts = {name: tmp_path / name for name in ("math", "code")}
    options: dict[str, Any] = {"method": "lata_log", "lam": {"math": 0.4, "code": 0.9}, "shard_bytes": 150}
    return lata.merge(tmp_path / "pre", experts, tmp_path / "base", output=tmp_path / "made", **options).output


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def weights(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if "safetensors" in name}


def changed(made: Path, text: str = "", **keys: Any) -> Path:
    """The recipe of `made` with other keys, None without one, and text at its end."""
    content = {**yaml.safe_load((made / "recipe.yaml").read_text(encoding="utf-8")), **keys}
    file = made.parent / "recipe.yaml"
    kept = {key: value for key, value in content.items() if value is not None}
    file.write_text(yaml.safe_dump(kept, sort_keys=False) + text, encoding="utf-8")
    return file


PLAIN = {
    "family": {"pre": "a/b", "base": "a/b", "experts": {"math": "a/b", "code": "a/b"}},
    "method": {"name": "ta"},
    "lam": 1.0,
}


def plain(folder: Path, **keys: Any) -> Path:
    """A recipe of models on the hub, with other keys."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**PLAIN, **keys}), encoding="utf-8")
    return folder / "recipe.yaml"


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit status of ``python -m experiments.merge``."""
    monkeypatch.setattr(sys, "argv", ["merge", *words])
    try:
        door.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_recipe_makes_the_same_bytes_again(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(weights(made)) > 2
    again = lata.merge_recipe(made / "recipe.yaml", output=tmp_path / "again").output
    assert contents(again) == contents(made)
    words = [f"recipe={made / 'recipe.yaml'}", f"output={tmp_path / 'third'}", "threads=1"]
    assert command(monkeypatch, *words) == 0
    assert contents(tmp_path / "third") == contents(made)


def test_a_recipe_that_was_a_configuration_is_still_read(made: Path, tmp_path: Path) -> None:
    lines = (made / "recipe.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    old = "#   python -m experiments.merge --config-dir THIS_FOLDER --config-name recipe output=NEW_FOLDER\n"
    defaults = "defaults:\n- merge_schema\n- _self_\n- hydra: merge\n"
    place = lines.index("vocab: error\n")
    file = tmp_path / "recipe.yaml"
    file.write_text("".join([lines[0], old, *lines[2:place], defaults, *lines[place:]]), encoding="utf-8")
    assert weights(lata.merge_recipe(file, output=tmp_path / "again").output) == weights(made)


def test_defaults_and_what_may_be_left_out(made: Path, tmp_path: Path) -> None:
    file = changed(made, merge=None, mode=None, vocab=None, shard_bytes=None, allow_unstable=None, digests=None)
    found = recipes.read(file, {})
    assert found.request.tasks == ("code", "math")
    assert (found.request.mode, found.request.vocab, found.request.seed) == ("learn", "error", 0)
    assert found.warnings == (
        "the recipe has no digest of pre, experts.code, experts.math, base, merged: "
        "whether the weights are its own is not checked",
    )
    assert recipes.read(made / "recipe.yaml", {}).warnings == ()


def test_relative_folders_are_those_beside_the_recipe(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere" / "pre").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    file = changed(made, family={"base": "base", "pre": "./pre", "experts": {"math": "math", "code": "../code"}})
    shutil.move(tmp_path / "code", tmp_path.parent / "code")
    assert weights(lata.merge_recipe(file, output=tmp_path / "again").output) == weights(made)
    monkeypatch.setenv("HOME", str(tmp_path))
    sources = recipes.read(changed(made, family={"pre": "~/pre", "experts": {"math": "a/b@c"}}, merge=["math"],
        method={"name": "ta"}, lam=1.0, digests=None), {}).request.sources  # fmt: skip
    assert sources == {"pre": str(tmp_path / "pre"), "experts.math": "a/b@c"}


def test_models_of_another_machine_are_named_with_what_to_add(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"base": str(tmp_path / "base"), "pre": "/home/other/pre", "experts": {"math": "gone", "code": "a+b"}}
    file = changed(made, family=other)
    words = [f"recipe={file}", f"output={tmp_path / 'again'}"]
    assert command(monkeypatch, *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("; add ")[2] for line in lines] == [
        f"family.{role}=FOLDER_OR_ID" for role in ("pre", "experts.code", "experts.math")
    ]
    assert "pre is '/home/other/pre', which is neither a folder on this machine nor a model on the hub" in lines[0]
    (tmp_path / "wei=rd, (1) 'é'").mkdir()
    moved = shutil.move(tmp_path / "math", tmp_path / "wei=rd, (1) 'é'")
    words += [f"family.pre={tmp_path / 'pre'}", f"family.experts.math={moved}"]
    assert command(monkeypatch, *words, f"family.experts.code='{tmp_path / 'code'}'") == 0
    assert weights(tmp_path / "again") == weights(made)


def test_the_digests_of_a_recipe_are_checked(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"math has the weights .* but the recipe was made with"):
        lata.merge_recipe(made / "recipe.yaml", experts={"math": tmp_path / "code"}, output=tmp_path / "again")
    with pytest.raises(ValueError, match=r"merged has the weights .* but the recipe was made with"):
        lata.merge_recipe(changed(made, lam=0.5), output=tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"hydra": {"run": {"dir": "/tmp"}}}, "unknown key 'hydra'"),
        ({"push": "org/name"}, "unknown key 'push'"),
        ({"output": "/tmp/out"}, "unknown key 'output'"),
        ({"threads": 4}, "unknown key 'threads'"),
        ({"export": "mergekit"}, "unknown key 'export'"),
        ({"trust_remote_code": True}, "unknown key 'trust_remote_code'"),
        ({"_target_": "os.system"}, "unknown key '_target_'"),
        ({"defaults": ["evil"]}, "unknown key 'defaults'"),
        ({"sed": 1}, "unknown key 'sed'; did you mean 'seed'?"),
        ({"method": {"name": "ta", "_target_": "os.system"}}, "method 'ta' has no parameter '_target_'"),
        ({"method": {"name": {"a": 1}}}, "unknown method"),
        ({"method": {"name": "lata_transferred", "profile": "/etc/passwd"}}, "must give task"),
        ({"method": "ta"}, "method must be a name and parameters"),
        ({"family": {"pre": "a/b", "experts": {"math": "a/b"}, "_target_": "a"}}, "unknown key 'family._target_'"),
        ({"family": {"pre": ["a/b"], "experts": {"math": "a/b"}}}, "family.pre must be a text"),
        ({"family": {"pre": "", "experts": {"math": "a/b"}}}, "family.pre must be a text"),
        ({"family": {"experts": {"math": "a/b"}}}, "family.pre is missing"),
        ({"family": {"pre": "a/b", "experts": {}}}, "family.experts names no expert"),
        ({"family": None}, "family must be models by role"),
        ({"merge": ["ua"]}, "merge: 'ua' is not one of"),
        ({"merge": [["ua"]]}, "merge: ['ua'] is not one of"),
        ({"merge": ["math", "math"]}, "stands twice"),
        ({"merge": "math"}, "merge must be a list"),
        ({"lam": "1e-5"}, "lam must be a number, or a number for each task, not '1e-5'"),
        ({"lam": True}, "lam must be a number"),
        ({"lam": float("nan")}, "must be a finite number"),
        ({"lam": 10**400}, "more than 64 bits"),
        ({"lam": {"math": "x"}}, "must be a finite number"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": -1}, "seed is -1; it must not be negative"),
        ({"mode": "forget"}, "mode=forget takes a target"),
        ({"vocab": "any"}, "choose error or common"),
        ({"allow_unstable": "yes"}, "allow_unstable must be true or false"),
        ({"shard_bytes": 0}, "must be a positive number of bytes"),
        ({"digests": {"pree": "00"}}, "unknown key 'digests.pree'; did you mean 'pre'?"),
        ({"digests": {"pre": 5}}, "digests.pre must be a text"),
        ({"family": {"pre": "a\x1b[2K\rb", "experts": {"math": "a/b"}}}, "a character that cannot be shown"),
        ({"family": {"pre": "a/b", "experts": {"m\nerror: x": "a/b"}}}, "a character that cannot be shown"),
        ({"family": {"pre": "a/b", "experts": {"m\u202eth": "./none"}}}, "a character that cannot be shown"),
        ({"family": {"pre": "+" * 4000, "experts": {"math": "a/b"}}}, "+++…, which is neither a folder"),
    ],
)
def test_what_no_recipe_has_is_refused(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        recipes.read(plain(tmp_path, **keys), {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "push=org/name",
        "lam=0.3",
        "method=ties",
        "+a=1",
        "hydra.job.env_set.HF_ENDPOINT=http://127.0.0.1:1",
        "family.experts={math: x}",
        "family.unknown=x",
        "family.experts.ua=x",
        "--multirun",
        "--config-dir",
        "threads=0",
        "threads=many",
        "dry_run=maybe",
        "family.pre=",
        "output=again",
    ],
)
def test_few_words_may_stand_beside_a_recipe(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, f"recipe={plain(tmp_path)}", "output=out", word) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_dry_run_writes_nothing(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"recipe={made / 'recipe.yaml'}", f"output={made.parent / 'out'}", "dry_run=true"]
    assert command(monkeypatch, *words) == 0
    assert "tensors" in capsys.readouterr().out
    assert not (made.parent / "out").exists()


def test_hydra_is_not_pointed_at_a_stranger_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--config-dir", "--config-path", "-cd", "--conf"):
        words = [option, str(tmp_path), "--config-name", "recipe", f"output={tmp_path / 'out'}"]
        assert command(monkeypatch, *words) == 2
        assert "python -m experiments.merge recipe=FILE output=NEW_DIR" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


class Touch:
    """Pickled, it makes a file when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.file,)


ATTACKS = {
    "callback": "hydra:\n  callbacks:\n    a: {_target_: pandas.read_pickle, filepath_or_buffer: EVIL/pickle}\n",
    "environment": "hydra:\n  job:\n    env_set: {HF_ENDPOINT: 'http://127.0.0.1:1', HF_TOKEN: '${oc.env:HOME}'}\n",
    "search path": "hydra:\n  searchpath: ['file://EVIL']\n",
    "python tag": "push: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [EVIL/ran]]\n",
    "upload": "push: org/name\n",
    "elsewhere": "output: EVIL/ran\n",
    "code": "trust_remote_code: true\n",
}


def test_attacks_do_nothing(tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "pickle").write_bytes(pickle.dumps(Touch(evil / "ran")))
    files = [tmp_path / f"{name}.yaml" for name in ATTACKS]
    for file, text in zip(files, ATTACKS.values(), strict=True):
        file.write_text(plain(tmp_path).read_text(encoding="utf-8") + text.replace("EVIL", str(evil)))
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, f"output={tmp_path / 'out'}", *map(str, files)],
        cwd=ROOT,
        env={**os.environ, "HF_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    # Each as a recipe, and by the command that cards once gave.
    assert done.stdout.splitlines() == ["2 set()"] * 2 * len(ATTACKS), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2 * len(ATTACKS)
    assert all(line.startswith("error: ") for line in lines)
    assert TOKEN not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


#: The command with every file, and what it left in its environment.
_WATCHED = """
import os, sys
before = dict(os.environ)
from pathlib import Path
from experiments.merge import main

_, output, *files = sys.argv
for file in map(Path, files):
    for words in ([f"recipe={file}"], ["--config-dir", str(file.parent), "--config-name", file.stem]):
        sys.argv = ["merge", *words, output]
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code
        changed = {key for key in os.environ.keys() | before if os.environ.get(key) != before.get(key)}
        print(status, changed - {key for key in changed if not key.startswith("HF_")})
"""


def test_nothing_in_a_recipe_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    reads = "${oc.env:HF_TOKEN}"
    for keys in (
        {"family": {"pre": reads, "base": "a/b", "experts": {"math": "a/b", "code": "a/b"}}},
        {"family": {"pre": "a/b", "base": "a/b", "experts": {"math": "a/b", reads: "a/b"}}, "merge": [reads, "math"]},
        {"lam": reads},
        {"mode": reads},
        {"method": {"name": reads}},
        {"digests": {"pre": reads}},
    ):
        words = [f"recipe={plain(tmp_path, **keys)}", f"output={tmp_path / 'out'}"]
        assert command(monkeypatch, *words) == 2
        said = capsys.readouterr()
        assert TOKEN not in said.out + said.err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_recipe_is_named(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"made is a folder; give the file in it: .*made/recipe\.yaml$"):
        recipes.read(made, {})
    with pytest.raises(ValueError, match=r"none\.yaml: No such file"):
        recipes.read(tmp_path / "none.yaml", {})
    with pytest.raises(ValueError, match=r"it has no model 'experts\.mat'; did you mean 'experts\.math'\?"):
        recipes.read(made / "recipe.yaml", {"experts.mat": "x"})
