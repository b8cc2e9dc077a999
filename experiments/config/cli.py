"""The thin shell around every command: Hydra composes, a task runs, an error is one line.

A mistake of the user ends with one line on standard error and exit status 2; Ctrl-C with status 130. Set
``HYDRA_FULL_ERROR=1`` to see the traceback instead. With ``--multirun`` a launcher of Hydra runs the task in several
processes or cluster jobs; one that fails hands its line to the command that started it, and the others go on.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from experiments import CONF
from experiments.config import secrets
from experiments.config.keys import no_choice, schema_keys, unknown_key
from experiments.config.overrides import advice, for_hydra, refuse_slips
from experiments.config.study import Config, register_schemas, study

Plan = TypeVar("Plan")

#: What can be a mistake of the user or a fault of the machine; anything else is ours and shows its traceback.
EXPECTED = (HydraException, OmegaConfBaseException, BrokenExecutor, ValueError, OSError, RuntimeError)


@dataclass(frozen=True)
class Door(Generic[Plan]):
    """One command's configuration.

    Attributes:
        name: of its primary config in `conf/`.
        schema: dataclass of the composed configuration.
        register: makes the schema known to Hydra.
        check: turns what was composed into what the task reads; ValueError for a mistake of the user.
    """

    name: str
    schema: type
    register: Callable[[], None]
    check: Callable[[DictConfig], Plan]


#: The configuration of a whole study.
STUDY = Door("config", Config, register_schemas, study)


class JobError(RuntimeError):
    """What went wrong in a job of ``--multirun``, already as the line that a user reads."""


def run(door: Door[Plan], task: Callable[[Plan], None]) -> None:
    """Compose the configuration from the command line, check it, and call `task` with it."""
    door.register()
    # Hydra reads key=value on one side of a flag alone; a user appends the flag to the command that he has.
    words = sorted(sys.argv[1:], key=lambda word: word not in ("--multirun", "-m"))
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Without this Hydra prints errors in its own many-lined way and exits before they can be read here.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    def perform(raw: DictConfig) -> None:
        secrets.refuse_values(raw)
        task(door.check(raw))

    # A launcher sends this function to other processes by value, with everything that it refers to.
    @hydra.main(version_base="1.3", config_path=str(CONF), config_name=door.name)
    def main(raw: DictConfig) -> None:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            if multiprocessing.get_start_method(allow_none=True) == "loky":
                # joblib's own way to start processes, the default in those that it started, is unknown in theirs.
                multiprocessing.set_start_method("spawn", force=True)
            try:
                perform(raw)
            except EXPECTED as error:
                if show_traceback:
                    raise
                raise JobError(secrets.masked(explain(error, door.schema))) from None
            except Exception as error:
                # Told here: on its way to the launcher an exception loses its traceback, or does not arrive.
                traceback.print_exc()
                raise JobError(secrets.masked(f"{type(error).__name__}: {error}")) from None
            return
        # Errors end here, before Hydra prints lines of its own about them.
        with errors_in_lines(door.schema, show_traceback):
            sys.argv[1:] = words  # provenance gives them as the user wrote them
            perform(raw)

    with errors_in_lines(door.schema, show_traceback):
        secrets.refuse_words(words)
        refuse_slips(words, named_experts=door.name in ("merge", "analyze"))
        sys.argv[1:] = for_hydra(words)
        main()


@contextmanager
def errors_in_lines(schema: type, show_traceback: bool | None = None) -> Iterator[None]:
    """End the command with one line and status 2 for what is expected, and with 130 for Ctrl-C.

    Args:
        schema: the command's dataclass.
        show_traceback: raise instead; None asks the environment.
    """
    if show_traceback is None:
        show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        yield
    except EXPECTED as error:
        if show_traceback:
            raise
        said = secrets.masked(explain(error, schema))
        print(textwrap.indent(said, "error: ", lambda line: True), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def explain(error: BaseException, schema: type = Config) -> str:
    """One line that says what was wrong, with the nearest valid key where a key was; a line each for several."""
    if isinstance(error, JobError):
        return str(error)
    if isinstance(error, BrokenExecutor):
        return "a worker process ended, perhaps for lack of memory; the same command goes on from here"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(error)
    if type(error).__module__.startswith("submitit."):
        return _cluster_error(str(error))
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    if len(chain) == 1 and isinstance(error, ValueError) and not isinstance(error, OmegaConfBaseException):
        return str(error)
    lines = [line.strip() for link in chain for line in str(link).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    unparsed = next((link.override for link in chain if isinstance(link, OverrideParseException)), None)
    if unparsed is not None:
        return advice(unparsed)
    if ambiguous := re.match(r"Ambiguous value for argument '([^=]+)=(.*)'$", first):
        key, value = ambiguous.groups()
        return f"{key}={value}: commas divide the jobs of --multirun; a list is written '{key}=[{value}]'"
    no_list = re.match(r"Error merging override ([^=]+)=(.*)$", first)
    if no_list and "is not a ListConfig" in str(chain[-1]):
        key, value = no_list.groups()
        return f"{key} takes a list; write '{key}=[{value}]'"
    # Outer messages can name the valid key that the unknown one stands in.
    named = [found.group(1) for line in lines if (found := _UNKNOWN_KEY.search(line))]
    for key in named:
        if key.startswith("hydra."):
            return f"unknown key {key!r}; --cfg hydra lists Hydra's"
        if key not in schema_keys(schema):
            return unknown_key(key, schema)
    if missing := re.match(r"(?:In '.*?': )?Could not find '([^']*)/([^'/]*)'", first):
        group, choice = missing.groups()
        options = next((link.options for link in chain if isinstance(link, MissingConfigException)), None)
        return no_choice(group, choice, options or [])
    if first.startswith("Error merging override "):
        return f"{first.removeprefix('Error merging override ')}: {str(chain[-1]).splitlines()[0]}"
    return first


_UNKNOWN_KEY = re.compile(r"(?:Could not override|Key) '([^'@]+)(?:@[^']*)?'(?:\.| not in | is not in struct)")


def _disk_full(error: OSError) -> str:
    place = next((p for p in Path(str(error.filename or ".")).absolute().parents if p.is_dir()), Path("/"))
    return (
        f"the disk of {place} is full ({shutil.disk_usage(place).free:,} bytes are free); make room, or take "
        "another: cache=… or LATA_CACHE for the cache, out=… for results; the same command goes on from here"
    )


def _cluster_error(text: str) -> str:
    """What submitit says of a job, which can be many lines with the whole log in them, as one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if ended := re.match(r"Job (\S+) .*with path (.*)_result\.pkl\s+has not .* \(state: (\w+)", text):
        job, path, state = ended.groups()
        why = "" if state in ("FINISHED", "UNKNOWN") else f" ({state.lower()})"
        log = f"its log is {path}_log.err"
        return f"job {job} ended before its work was done{why}; {log}; the same command goes on from here"
    if "failed during processing" in text:
        return f"a job failed; its log is {lines[-2].removeprefix('- ')}"
    return lines[-1] if lines else "the cluster did not take the job"
