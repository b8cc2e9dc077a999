"""``python -m experiments.commands`` is ``lata``."""

from experiments.commands import main

main()
