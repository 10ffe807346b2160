"""Texts and files for the tests of this folder."""

import hashlib
import json
from pathlib import Path

SENTENCES = [
    "The harbour town woke before the fishermen did on most days of that year.",
    "Gulls walked along the stone quay and looked for scraps between the nets.",
    "A woman carried two baskets of bread up the steep lane to the market.",
    "Her brother had promised to repair the roof but never found the time.",
    "Rain came in from the west and drummed on the boats until noon.",
    "The mayor counted the coins twice because nobody trusted the old ledger.",
    "Children built small dams in the gutters and watched the water rise.",
    "An engineer from the city measured the pier with a long brass chain.",
    "He wrote the numbers into a notebook that smelled of smoke and oil.",
    "Later the council argued for three hours about the price of timber.",
]


def prose(number: int) -> str:
    """Ten distinct sentences, in an order and with a number of their own."""
    order = [(number + 3 * i) % len(SENTENCES) for i in range(len(SENTENCES))]
    return " ".join(SENTENCES[i].replace("the", f"the number {number}", 1) for i in order)


def jsonl(texts: list[str], key: str = "text") -> str:
    return "".join(json.dumps({key: text}) + "\n" for text in texts)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
