"""Questions to `experiments.plan`: the miniature family, small folders, and a family that is only named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from safetensors.numpy import save_file

from experiments import CONF
from experiments.planning.config import Planning, planning, register_schemas
from experiments.planning.estimate import Estimate, estimate
from experiments.planning.shapes import Shape

MINI_SHAPE = Shape(6, 128, 344, 4, 4, 32, 640, 512, tied=True)
SMALL = Shape(2, 8, 16, 2, 1, 4, 32, 64, tied=False)
#: The same as a `config.json`.
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}


def asked(tmp_path: Path, *overrides: str) -> Planning:
    register_schemas()
    places = (f"out={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return planning(compose("plan", overrides=[*places, *overrides]))


def made(tmp_path: Path, *overrides: str) -> Estimate:
    return estimate(asked(tmp_path, *overrides))


def checkpoint(folder: Path, dtype: Any = np.float16) -> Path:
    """A model of the shape `SMALL`, zeros."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    block = {"q_proj": (8, 8), "k_proj": (4, 8), "v_proj": (4, 8), "o_proj": (8, 8)}
    feed = {"gate_proj": (16, 8), "up_proj": (16, 8), "down_proj": (8, 16)}
    tensors = {"model.embed_tokens.weight": (32, 8), "lm_head.weight": (32, 8), "model.norm.weight": (8,)}
    for layer in range(2):
        start = f"model.layers.{layer}."
        tensors |= {f"{start}self_attn.{name}.weight": shape for name, shape in block.items()}
        tensors |= {f"{start}mlp.{name}.weight": shape for name, shape in feed.items()}
        tensors |= {f"{start}{name}.weight": (8,) for name in ("input_layernorm", "post_attention_layernorm")}
    save_file({name: np.zeros(shape, dtype) for name, shape in tensors.items()}, folder / "model.safetensors")
    return folder


def local_family(root: Path, **dtypes: Any) -> list[str]:
    """Overrides that name four small folders."""
    sources = {
        name: checkpoint(root / name, dtypes.get(name, np.float16)) for name in ("base", "pre", "math", "code")
    }
    return [
        *("family=llama32_3b", "eval=paper", "merges=[math+code]", "methods=[ta,ties]", "forget=[]", "plan.gpu=h100"),
        *(f"family.models.{name}.source={folder}" for name, folder in sources.items()),
    ]


GEMMA = ("family=gemma2_2b", "eval=paper", "merges=[math+code]", "methods=[ta,lata_log]", "forget=[]")
