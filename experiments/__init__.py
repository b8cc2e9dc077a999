"""The commands; ``conf/`` lies at the top of the repository, and inside this package where a wheel is installed."""

from pathlib import Path

#: The repository, or the folder that the packages were installed into.
ROOT = Path(__file__).resolve().parents[1]

_INSTALLED = ROOT / "experiments" / "conf"

#: Hydra's configuration.
CONF = _INSTALLED if _INSTALLED.is_dir() else ROOT / "conf"
