"""Cleaning steps: pure functions from text to text, or to None when the text is not worth keeping.

Each step mends or judges one thing and is named in `STEPS`, by which a configuration asks for it. A document that
a step turns into None is counted under the step's name, so that nothing disappears unsaid.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Sequence

from calibrant.errors import InputError
from calibrant.sources.sentences import abbreviates, is_complete, split_sentences

Step = Callable[[str], str | None]

INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SPACES = re.compile(r"[^\S\n]+")


def characters(text: str) -> str:
    """One form for each character: NFC, plain spaces and line ends; no controls, no invisible characters.

    UTF-8 that was once read as Windows-1252 (a pound sign as two characters) is put right first.
    """
    text = _undo_mojibake(text).replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\x85", "…")
    text = re.sub(r"[\x80-\x9f]", lambda m: m[0].encode("latin-1").decode("cp1252", errors="replace"), text)
    text = CONTROL.sub("", INVISIBLE.sub("", text))
    return unicodedata.normalize("NFC", re.sub(r"[\u00a0\u2000-\u200a\u202f\u3000]", " ", text))


def _byte_of(character: str) -> int | None:
    try:
        return character.encode("cp1252")[0]
    except UnicodeEncodeError:
        return ord(character) if ord(character) < 256 else None


def _undo_mojibake(text: str) -> str:
    def mend(match: re.Match[str]) -> str:
        values = [_byte_of(character) for character in match[0]]
        try:
            return bytes(v for v in values if v is not None).decode() if None not in values else match[0]
        except UnicodeDecodeError:
            return match[0]

    for _ in range(3):  # text can be misread more than once
        mended = re.sub(r"[^\x00-\x7f]{2,}", mend, text)
        if mended == text:
            break
        text = mended
    return text


def whitespace(text: str) -> str:
    """Single spaces, no spaces at line ends, at most one blank line between paragraphs."""
    lines = [SPACES.sub(" ", line).strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def markup(text: str) -> str:
    """HTML tags and character references; comments, scripts and styles with what they hold."""
    for opener, closer in (("<!--", "-->"), ("<script", "</script>"), ("<style", "</style>")):
        text = _without_blocks(text, opener, closer)
    text = re.sub(r"(?i)<(?:br|p|div|li|tr|h[1-6])\b[^<>]*>|</(?:p|div|li|tr|h[1-6])>", "\n", text)
    return html.unescape(re.sub(r"</?[A-Za-z][^<>]*>", "", text))


def _without_blocks(text: str, opener: str, closer: str) -> str:
    """Cut from each opener to its closer, if it has one, in linear time."""
    kept, start, folded = [], 0, text.lower()
    if len(folded) != len(text):  # rare letters change length in lower case, and places would not fit
        folded = text
    while (begin := folded.find(opener, start)) >= 0 and (end := folded.find(closer, begin)) >= 0:
        kept.append(text[start:begin])
        start = end + len(closer)
    return " ".join([*kept, text[start:]])


def wiki(text: str) -> str:
    """Wikipedia's leftovers: templates, links, headings, emphasis, marks such as [1] and [citation needed]."""
    text = re.sub(r"\{\{[^{}]*\}\}(?:: Missing or empty [^()\n]*\(help\))?|\{\\displaystyle[^}]*\}+", "", text)
    text = re.sub(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]", r"\1", text)
    text = re.sub(r"(?m)^==+([^=\n]+)==+ *$", lambda m: m[1].strip(), text.replace("'''", ""))
    marks = r"\d{1,3}|[a-z]|(?:note|nb|n) \d+|update|edit|needs update|who\?|when\?|which\?|where\?|why\?|by whom\?"
    marks += r"|[^\[\]]{0,40}(?:needed|source\?|original research\?|dubious|vague|clarify|dead link)[^\[\]]{0,40}"
    text = re.sub(rf"\s?\[\s?(?:{marks})\s?\]", "", text)
    text = re.sub(r"\[\w{1,40} [^\[\]=]{0,200}=[^\[\]]{0,1000}\]", "", text)  # shortcodes: [box title="..." link="..."]
    return re.sub(r" ?\([ ,;:/]*\)", "", text)  # what a removed template leaves between brackets


_POINT = r"(?<![\d.])-?\d[\d.°'′\"″]{0,20}[NSEW]"
_PAIR = rf"{_POINT},? {_POINT}"
_DECIMAL = r"-?\d{1,3}\.\d{1,12}"
_COORDINATES = rf"{_PAIR}(?: ?/ ?{_PAIR})?(?: ?/ ?{_DECIMAL} ?[;,] ?{_DECIMAL})?(?: ?\({_DECIMAL}, ?{_DECIMAL}\))?"
_NAMED = r"(?: ?\([^()]*(?:\([^()]*\))?[^()]*\))?"  # (Longview (former house)) after the numbers


def coordinates(text: str) -> str:
    """Geographic coordinates, and `is located at` when nothing else follows it."""
    text = re.sub(rf" ?\( ?{_COORDINATES}{_NAMED} ?\)", "", text)
    text = re.sub(
        rf" (?:is|are|was|were)(?: located| situated)? at {_COORDINATES}(?: ?\.|, at)(?!\S)", " is here.", text
    )
    return re.sub(rf"(?:,? at )?{_COORDINATES}(?:,(?= ))?", "", text)


def urls(text: str) -> str:
    """Web and mail addresses in brackets, at the end of a line or alone on one; inside a sentence they are words."""
    address = r"(?:(?:https?://|www\.)[^\s()<>\[\]]+|pic\.twitter\.com\S*|[\w.+-]{1,64}@[\w-]+\.[\w.-]+)"
    text = re.sub(rf" ?[(<\[] ?{address} ?[)>\]]", "", text)
    return re.sub(rf"(?m) ?(?<!\w){address}[.,;:)]*$", "", text)


_NEWS_BITS = tuple(
    re.compile(pattern)
    for pattern in (
        r"^[A-Z][A-Z .,-]{2,40}, ?[A-Z][a-z]+ \d{1,2}\.? ?/ ?TASS\.? ?/\.?[ -]*",
        r"^[A-Z][A-Z .,-]{3,30}(?: \([A-Z]+\))? ?(?:--|—|- )\s*(?=[A-Z\"])",
        r"Send Facebook Twitter Google\+ Whatsapp Tumblr linkedin stumble Digg reddit Newsvine"
        r"(?: Permalink)?(?: \S*//\S*)?",
        r"(?:Share this with )?Media playback is (?:not supported|unsupported) on (?:this|your) device",
        r"/ ?TASS\.? ?/\.?",
        r"\[[^\[\]]{0,60}/(?:Al Jazeera|Reuters|AP|AFP|EPA|Getty[^\[\]]*)\]",
        r"(?:\b[a-z]{2,4}/[a-z]{2,4}\s*)?\((?:(?:Reuters|AP|AFP|dpa|EFE|epd|KNA|SID|ANSA)(?:, ?)?)+\)$",
    )
)
_NEWS_FOOTER = re.compile(
    r"Do you have information you want to share with the Huffington Post\?"
    r"|Share this slide:|How will (?:Donald )?Trump['\"]s (?:first 100 days|administration) impact (?:you|YOU)\?"
    r"|\( ?China Daily European Weekly"
    r"|Contact the writers? (?:at|through)"
    r"|The (?:authors?|writers?) (?:can be (?:contacted|reached)|may be contacted)"
    r"|The (?:views|opinions)(?: expressed)?(?: in this article| here)? (?:are|do not)\b.{0,90}\breflect"
    r"|(?:- ?)?Source:.{0,80}$|Get news from the BBC in your inbox"
    r"|If you have a story suggestion|You can also contact us in the following ways"
    r"|For all the latest .{0,80} visit |TASS is not responsible for the material"
)


def news(text: str) -> str:
    """What news sites print around an article: share bars, subscription offers, credits, disclaimers, datelines."""
    for bit in _NEWS_BITS:
        text = bit.sub(" ", text).strip()
    footer = _NEWS_FOOTER.search(text, len(text) // 2)  # what comes in the first half is no footer
    text = text[: footer.start()].rstrip() if footer else text
    if text.endswith("Learn more"):  # the sentence before it is the offer
        text = " ".join(split_sentences(text)[:-2])
    return text


def lost_spaces(text: str) -> str:
    """A hyphen where a no-break space was lost, after a punctuation mark: `said.- The` and `said.-The`."""
    text = re.sub(r"(?<=[.,;:!?\"])-(?=[ A-Z\"'(]|$)|(?<=[.,;:!?])-(?=[a-z])", " ", text)
    return re.sub(r"^-(?=[A-Z\"])|(?<=\s)-$", "", text)


def hansard(text: str) -> str:
    """Marks of the official record in a speech: page footers, column numbers, interruptions in brackets."""
    text = re.sub(r"House of Commons Hansard Debates for \d{1,2} \w{3} \d{4} \(pt \d+\)(?: \d+\.)?", "", text)
    text = re.sub(r"\b\d{1,2} [A-Z][a-z]{2,8} \d{4} : Column \d+\w*|\bColumn \d+\w*", "", text)
    return re.sub(r"\[(?:Interruption|Hon\. Members|An Hon\. Member|Laughter)[^\]]*\]", "", text)


def final_stop(text: str) -> str:
    """Put back the full stop of a passage that was cut at a sentence's end and lost it; not after an abbreviation."""
    return f"{text}." if re.search(r"[A-Za-z)]$", text) and not abbreviates(text[-24:]) else text


_OFTEN_JOINED = (
    r"(?:the|that|is|are|was|were|has|have|had|he|she|they|his|her|their|said|which|who|with|from|and|of|to"
    r"|told|will|could|should|been)"
)
_LOST = re.compile(
    r"\"\?[\w'\"(\[]|\w\?\w"  # a quotation mark, dash or accented letter that became a question mark
    r"|(?<= )-\w+(?= )|[\])]-[a-z]|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day-[a-z]+(?![-\w])"
    rf"|(?<![-\w])(?:{_OFTEN_JOINED}-[A-Za-z]+|[A-Za-z]+-{_OFTEN_JOINED})(?![-\w])"  # a lost space between words
)


def undecodable(text: str) -> str | None:
    """Drop a text with a replacement character (U+FFFD): something was there that nobody can tell."""
    return None if "\ufffd" in text else text


def lost_characters(text: str) -> str | None:
    """Drop a text where quotation marks, dashes or spaces became `?` or `-` and cannot be told from real ones."""
    return None if _LOST.search(text) else text


def not_prose(text: str) -> str | None:
    """Drop lists, tables, code and other scripts: under 75 % letters and spaces, or short broken lines."""
    letters = sum(c.isalpha() or c.isspace() for c in text)
    latin = sum("a" <= c <= "z" or "A" <= c <= "Z" for c in text)
    if not text or letters < 0.75 * len(text) or latin < 0.6 * len(text):
        return None
    lines = [line for line in text.split("\n") if line.strip()]
    return None if len(lines) > 2 and len(text.split()) < 8 * len(lines) else text


def fragment(text: str) -> str | None:
    """Drop what holds no whole sentence of at least five words."""
    return text if any(is_complete(sentence) for sentence in split_sentences(text)) else None


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        *(characters, markup, wiki, coordinates, urls, news, lost_spaces, hansard, whitespace, final_stop),
        *(undecodable, lost_characters, not_prose, fragment),
    )
}


def clean(text: str, steps: Sequence[str]) -> tuple[str | None, str]:
    """Apply steps in order: the text and "", or None and the name of the step that dropped it."""
    for name in steps:
        result = STEPS[name](text)
        if result is None:
            return None, name
        text = result
    return text, ""


def check_steps(where: str, steps: Sequence[str]) -> None:
    """Refuse names that are no cleaning steps.

    Raises:
        InputError: the message names the step and lists those that exist.
    """
    for name in steps:
        if name not in STEPS:
            raise InputError(f"{where}.clean: unknown step {name!r}; the steps are {', '.join(STEPS)}")
