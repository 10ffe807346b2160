"""Split English prose into sentences: paragraph ends, and full stops that neither abbreviate nor count."""

import re

# Titles, months, days and states abbreviate with a capital ("the Sun. And" is rarer than "on Sun. Jan. 3").
_TITLES = "Mr Mrs Ms Messrs Dr Prof Rev Hon Rt Sen Rep Gov Gen Col Capt Cmdr Lt Maj Sgt Pres St Ste Mt Ft Jr Sr"
_FIRMS = "Inc Ltd Co Corp Bros No Nos Vol Fig Ed"
_DATES = "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Mon Tue Wed Thu Fri Sat"
_STATES = (
    "Ala Ariz Ark Calif Colo Conn Del Fla Ga Ill Ind Kan Ky La Mass Md Mich Minn Mo Mont Neb Nev Okla Pa Tenn Tex Va"
)
_CAPITALISED = frozenset(f"{_TITLES} {_FIRMS} {_DATES} {_STATES}".split())
_LOWER = frozenset("hon rt vs etc al cf viz ca approx vol fig eds pp nos".split())  # noqa: SIM905
# A terminator with its closing quotation marks, then space, then what may start a sentence.
_BOUNDARY = re.compile(r"(?<![.!?…])([.!?…]+)([\"”’')\]]*)\s+(?=[\"“‘'(\[]*[A-Z0-9£$€])")
_LAST_WORD = re.compile(r"[\w.&-]*$")
_QUOTES = "\"“”‘’'()[]"


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, without surrounding space; a paragraph's end always ends a sentence."""
    return [sentence for paragraph in re.split(r"\n+", text) for sentence in _split(paragraph.strip()) if sentence]


def is_complete(sentence: str, least: int = 5) -> bool:
    """Whether it has at least `least` words, starts as a sentence does and ends with a terminator."""
    bare = sentence.strip(_QUOTES)
    starts = bare[:1].isupper() or bare[:1].isdigit() or bare[:1] in "£$€"
    return len(sentence.split()) >= least and starts and bare.endswith((".", "!", "?", "…"))


def _split(paragraph: str) -> list[str]:
    sentences, start = [], 0
    for match in _BOUNDARY.finditer(paragraph):
        if match[1] == "." and not match[2] and abbreviates(paragraph[max(start, match.start() - 24) : match.start()]):
            continue
        sentences.append(paragraph[start : match.end()].strip())
        start = match.end()
    return [*sentences, paragraph[start:].strip()]


def abbreviates(before: str) -> bool:
    """Whether a full stop after this text abbreviates: titles, months, initials (`J.`, `U.S.`), list numbers."""
    found = _LAST_WORD.search(before)
    word = found[0] if found else ""
    if not word:
        return False
    if re.fullmatch(r"(?:[A-Za-z]\.)*[A-Za-z]", word):  # an initial, or letters with stops between
        return word not in ("I", "a")
    return word in _CAPITALISED or word in _LOWER or (word.isdigit() and word == before.strip() and len(word) < 3)
