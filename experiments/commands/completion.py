"""Tab completion for bash, zsh and fish.

The scripts ask ``lata --complete WORD …`` for what the last word can become.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from experiments import CONF
from experiments.commands import pages
from experiments.commands.catalogue import COMMANDS, FLAG, LIST, PATH, Command

_BASH = r"""# lata: source <(lata --completion bash)
_lata() {
    local line=${COMP_LINE:0:COMP_POINT} word found
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[-1]}
    COMPREPLY=()
    while IFS= read -r found; do
        # bash takes what stands after the last = for the word.
        [[ $word == *=* && $COMP_WORDBREAKS == *=* ]] && found=${found#"${word%=*}="}
        [[ -n $found ]] && COMPREPLY+=("$found")
    done < <("$1" --complete "${words[@]:1}" 2>/dev/null)
    # A key is followed by its value, not by a blank.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o bashdefault -o default -F _lata lata
"""

_ZSH = r"""#compdef lata
# lata: source <(lata --completion zsh)
_lata() {
    local -a found keys rest
    found=("${(@f)$("${words[1]}" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    keys=(${(M)found:#*[=.]})
    rest=(${found:#*[=.]})
    (( ${#keys} )) && compadd -S '' -a keys
    (( ${#rest} )) && compadd -a rest
    (( ${#keys} + ${#rest} )) || { compset -P '*='; _files; }
}
compdef _lata lata
"""

_FISH = r"""# lata: lata --completion fish | source
function __lata_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] --complete $words[2..] 2>/dev/null
end
complete -c lata -a '(__lata_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

#: Keys with few values that are no group of ``conf/``.
_WORDS = {
    "hydra/launcher": ("joblib", "slurm"),
    "mode": ("learn", "forget", "both", "layers"),
    "selection": ("fixed", "grid", "metagpt", "search"),
    "export": ("none", "mergekit"),
    "vocab": ("error", "common"),
    "granularity": ("block", "module", "tensor"),
    "outside": ("keep", "rank"),
    "dry_run": ("true", "false"),
    "plan.gpu": ("h100", "h200", "a100", "a6000", "rtx4090", "l40s", "cpu"),
}

#: Hydra's options that a user of this project needs.
_HYDRA = ("--help", "--cfg", "--multirun")


def script(shell: str) -> str:
    """The completion script of a shell; ValueError where there is none."""
    if shell not in SCRIPTS:
        raise ValueError(f"--completion takes one of {', '.join(SCRIPTS)}; in bash: source <(lata --completion bash)")
    return SCRIPTS[shell].strip()


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of the words after ``lata`` can become; nothing where it is the name of a file."""
    *before, word = words or [""]
    if not before:
        known = [*COMMANDS, "--help", "--version", "--completion"]
    elif before == ["--completion"]:
        known = [*SCRIPTS]
    elif before[0] not in COMMANDS:
        known = []
    else:
        known = [*_of_command(COMMANDS[before[0]], before[0], before[-1], word)]
    return [one for one in known if one.startswith(word)]


def _of_command(command: Command, name: str, last: str, word: str) -> Iterator[str]:
    """What a word of a subcommand can be; `last` is the word before it."""
    if last in command.options:
        key, kind = command.options[last]
        if kind == LIST:
            done, comma, _ = word.rpartition(",")
            yield from (f"{done}{comma}{one}" for one in values(key) if one not in done.split(","))
        if kind != FLAG:
            yield from () if kind in (PATH, LIST) else values(key)
            return
    key, equals, _ = word.partition("=")
    if equals:
        yield from (f"{key}={value}" for value in values(key, command))
        return
    yield from (option for option in (*command.options, *_HYDRA) if word.startswith("-"))
    if not word.startswith("-"):
        keys = (f"{key}=" for key, _, _ in pages.keys_of(name))
        yield from dict.fromkeys([*(f"{group}=" for group in command.groups), *keys])


def values(key: str, command: Command | None = None) -> list[str]:
    """What can be chosen for a key, where that is known."""
    if key in ("method", "methods"):
        return pages.choices("method")
    if (CONF / key).is_dir() and (command is None or key in command.groups):
        return pages.choices(key)
    if key == "eval.tasks":
        from eval.settings import TASKS

        return [*TASKS]
    if key.startswith("eval."):
        from eval.settings import CHOICES

        return [*CHOICES.get(key.removeprefix("eval."), ())]
    return [*_WORDS.get(key, ())]
