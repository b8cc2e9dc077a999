"""What is known of the documents of each task without reading them: measured, published or guessed.

At 4 characters a token for English. In a batch that is scored together the longest of B answers counts, 1 +
spread·ln B lengths of a mean one, which the reference answers of GSM8K and HumanEval follow within 3 % for B from 1
to 64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from eval.schema import TRUTHFULQA, XNLI, XQUAD

CHARACTERS_A_TOKEN = 4.0


@dataclass(frozen=True)
class Documents:
    """One task's documents, in tokens.

    Attributes:
        task: its name.
        count: documents.
        prompt: mean tokens of a prompt, shots included, or of a page.
        longest: most tokens of one.
        answer: mean tokens of an answer; 0 where nothing is generated.
        limit: most tokens of an answer.
        spread: see the module's text.
        samples: answers to each prompt, or choices that are read with it.
        how: ``counted``, ``estimated``, or ``unknown`` (then there are none).
    """

    task: str
    count: int
    prompt: float
    longest: float
    answer: float = 0.0
    limit: int = 0
    spread: float = 0.33
    samples: int = 1
    how: str = "estimated"

    @property
    def prompt_tokens(self) -> float:
        """Of one evaluation."""
        return self.count * self.samples * self.prompt

    def answer_tokens(self, most: bool = False) -> float:
        """Generated in one evaluation; where every answer runs to its limit with `most`."""
        return self.count * self.samples * (self.limit if most else min(self.answer, self.limit))

    def steps(self, rows: int, most: bool = False) -> float:
        """Decoding steps of a batch of `rows`: the length of its longest answer."""
        return self.limit if most else min(self.limit, self.answer * (1 + self.spread * math.log(max(1, rows))))


@dataclass(frozen=True)
class Recorded:
    """A benchmark in characters: documents, mean and longest prompt, one shot, mean answer; its limit in tokens.

    Attributes:
        fixed: what stands in every prompt beside the document's own text.
        passes: choices that are read with each prompt; choices of one token are read at once.
        density: characters a token.
    """

    count: int
    prompt: float
    longest: float
    answer: float
    limit: int
    shot: float = 0.0
    spread: float = 0.33
    fixed: float = 0.0
    passes: int = 1
    density: float = CHARACTERS_A_TOKEN


#: Test splits as published, measured on their files: WikiText-2 raw (https://arxiv.org/abs/1609.07843), GSM8K
#: (https://github.com/openai/grade-school-math; a shot is a fifth of the first five training problems) and HumanEval
#: (https://github.com/openai/human-eval). Requests for ``refusal`` are the user's own: their length is a guess, and
#: answers of chat models run to the limit.
RECORDED = {
    "wikitext": Recorded(62, 20_241, 73_042, 0, 0),
    "gsm8k": Recorded(1_319, 257.9, 866, 292.9, 256, shot=372),
    "humaneval": Recorded(164, 450.6, 1_360, 180.9, 1_024, spread=0.54),
    "humaneval_instruct": Recorded(164, 901.2, 2_720, 180.9, 1_024, spread=0.54, fixed=140),
    "refusal": Recorded(0, 120, 400, 1_024, 256),
}

#: The multilingual tasks: documents as their README says (TMMLU+ and JAQKET: as remembered, not read again). Lengths
#: and characters a token are guesses; a folder with the files is counted instead.
GUESSED = {
    "tmmluplus": Recorded(20_118, 130, 1_500, 0, 0, fixed=25, density=1.3),
    "ja_leaderboard_jaqket_v2": Recorded(1_164, 2_500, 8_000, 8, 256, shot=2_500, fixed=100, density=1.5),
    "ja_leaderboard_jsquad": Recorded(4_442, 280, 1_000, 8, 256, shot=300, fixed=100, density=1.5),
    "ja_leaderboard_jcommonsenseqa": Recorded(1_119, 50, 150, 0, 0, shot=80, fixed=100, passes=5, density=1.5),
    **{f"xquad_{code}": Recorded(1_190, 900, 2_500, 25, 256, fixed=30, density=3.0) for code in XQUAD},
    **{f"xnli_{code}": Recorded(2_490, 180, 700, 0, 0, fixed=20, passes=3, density=3.0) for code in XNLI},
    **{f"truthfulqa_{code}_mc2": Recorded(800, 110, 500, 0, 0, fixed=700, passes=7) for code in TRUTHFULQA},
}

#: The miniature tasks in tokens of the miniature tokenizer: measured on the test split of 300 items, and answers on
#: 11,000 of merged and other models.
MINI = {
    "wikitext": Documents("wikitext", 300, 54.1, 81),
    "gsm8k": Documents("gsm8k", 300, 35.2, 41, 26.7, 64),
    "humaneval": Documents("humaneval", 300, 30.1, 43, 18.7, 64, 0.54),
    "humaneval_instruct": Documents("humaneval_instruct", 300, 135.2, 161, 18.7, 64, 0.54),
    "refusal": Documents("refusal", 300, 15.5, 18, 11.2, 64),
}
