"""Secrets of the environment are in no result and in no line that is printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiments.config.secrets import looks_secret, masked, refuse_values, refuse_words
from experiments.study import provenance

ROOT = Path(__file__).parents[2]
TOKEN = "hf_" + "aB3" * 12


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *(
            (name, True)
            for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "GITHUB_PAT")
        ),
        *((name, True) for name in ("OPENAI_API_KEY_2", "hydra.job.env_set.HF_TOKEN", "token", "MyPassword", "KEY1")),
        *((name, False) for name in ("HOME", "TOKENIZERS_PARALLELISM", "eval.judge.key_env", "tokenizer", "monkey")),
        *((name, False) for name in ("eval.judge.max_tokens", "PATH", "run_keys", "LATA_CACHE", "tokens")),
    ],
)
def test_a_secret_is_known_by_its_name(name: str, secret: bool) -> None:
    assert looks_secret(name) is secret


def test_secrets_are_refused_where_results_would_repeat_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    monkeypatch.setenv("SHORT_KEY", "a")
    monkeypatch.setenv("PLACE", "/here")
    for value in ("${oc.env:HF_TOKEN}", "x-${oc.env:HF_TOKEN}", TOKEN, "${oc.env:DB_PASSWORD}", "${b}"):
        config = OmegaConf.create({"name": "fine", "b": "${oc.env:HF_TOKEN}", "deep": [{"a": value}]})
        with pytest.raises(ValueError, match=r"holds the value of the environment variable") as caught:
            refuse_values(config)
        assert TOKEN not in str(caught.value)
        assert "hunter2" not in str(caught.value)
    refuse_values(OmegaConf.create({"place": "${oc.env:PLACE}", "a": "hunter2", "n": 1, "none": None}))
    refuse_words(["out=a", "name=hunter2", "name=${oc.env:HF_TOKEN}"])
    with pytest.raises(ValueError, match=r"^name holds the value of the environment variable HF_TOKEN"):
        refuse_words([f"name={TOKEN}"])


def test_what_is_printed_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("OTHER_KEY", TOKEN + "more")
    assert masked(f"a {TOKEN} b {TOKEN}more") == "a <HF_TOKEN> b <OTHER_KEY>"


def test_the_command_of_a_result_has_no_value_of_a_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "hydra.job.env_set.HF_TOKEN=abcdef", "++api_key=x", "lam=1"])
    assert provenance.public_words(()) == ["hydra.job.env_set.HF_TOKEN=***", "++api_key=***", "lam=1"]


def test_commands_say_no_secret_and_write_none(tmp_path: Path) -> None:
    script = """
import os, runpy, sys
for words in sys.argv[1].splitlines():
    door, *rest = words.split()
    os.environ.pop("HYDRA_FULL_ERROR", None)
    sys.argv = [door, *rest]
    try:
        runpy.run_module(f"experiments.{door}", run_name="__main__")
    except SystemExit as end:
        print(end.code)
"""
    lines = [
        "reproduce name=${oc.env:HF_TOKEN}",
        f"reproduce logger.project={TOKEN}",
        "reproduce ++lam=${oc.env:HF_TOKEN}",
        "reproduce experiment=${oc.env:HF_TOKEN}",
        "reproduce methods=[{name:ta,x:'${oc.env:HF_TOKEN}'}]",
        "merge family.pre=x family.experts={math:x} output=o method.density=${oc.env:HF_TOKEN}",
        "evaluate model=org/${oc.env:HF_TOKEN} eval=paper",
        "sweep out=runs/${oc.env:HF_TOKEN}",
        f"compare {TOKEN}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, "\n".join(lines)],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["2"] * len(lines), done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == len(lines)
    assert TOKEN not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert TOKEN not in str(path)
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()
