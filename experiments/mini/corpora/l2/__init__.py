"""A second, generated language: ``l2``, a code that no real language can have.

It has words of its own (`words`), text of its own (`pages`, `problems`, `requests`) and a grammar of its own: the
verb stands last, numbers and adjectives follow their noun, relations are postpositions, owning is expressed as things
being at somebody, and who was named already is left out. A word problem, and what its words mean:

    Gon ko pir 13 tu. 8 fu. 1 fu. ku pir fi tu?
    Gon at apples 13 are. 8 loses. 1 loses. in-all apples how-many are?

No text is a translation: towns, people, sentences and the numbers of verbs and objects are others than in English.
What both share is what a chat template or a task gives to every language: ``Instruction: … Response:``,
``Question: … Answer:``, digits, and GSM8K's marks.

The generators join `corpora.mixtures` when this package is imported, which `experiments.mini.family` does in every
process. So no file that the English models are made from knows of the language, and their keys stay what they were.
"""

from experiments.mini.corpora.l2.pages import page_text
from experiments.mini.corpora.l2.problems import problem
from experiments.mini.corpora.l2.requests import benign_request, granted_request, refused_request, repetition
from experiments.mini.corpora.mixtures import GENERATORS

L2_GENERATORS = {
    "l2_pages": page_text,
    "l2_problems": problem,
    "l2_benign": benign_request,
    "l2_refused": refused_request,
    "l2_granted": granted_request,
    "l2_repetitions": repetition,
}
GENERATORS.update(L2_GENERATORS)
