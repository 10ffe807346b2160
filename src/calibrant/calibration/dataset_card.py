"""The card of a calibration set: what it is, where it comes from, how it was chosen and how it is used."""

from calibrant.artefacts.card_text import (
    NOT_STATED,
    fenced,
    front_matter,
    joined,
    licence_entries,
    sentence,
    table,
    words_of,
)
from calibrant.calibration.quantizer_snippets import Snippet, quantizer_snippets
from calibrant.calibration.set_facts import SetFacts, SourceShare, Writing

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
ORIGINS = {"real": "real text", "synthetic": "written by the model", "": NOT_STATED}
LOAD = (
    "from datasets import load_from_disk",
    'rows = load_from_disk("dataset")  # this folder; the same rows are in set.parquet, set.jsonl and set.txt',
    'print(rows[0]["text"], rows[0]["input_ids"])',
)


def dataset_card(facts: SetFacts) -> str:
    """README.md of a Hugging Face dataset folder. Languages are left out: nobody asked the text for its own."""
    return front_matter(
        {
            "pretty_name": facts.name,
            **licence_entries([share.licence for share in facts.sources], several=True),
            "size_categories": [next((name for most, name in SIZES if facts.sequences < most), "1M<n<10M")],
            "task_categories": ["text-generation"],
            "tags": ["calibration", "pruning", "quantization", "calibrant"],
            "configs": [{"config_name": "default", "data_files": "data-*.arrow"}],
        }
    ) + joined(
        [
            f"\n# {words_of(facts.name)}",
            f"A calibration set of {_amount(facts)}: the text that a pruning or quantization method runs through a "
            "language model to see which of its weights matter. It is no text to train on.",
            _choice(facts),
            "## Sources",
            _sources(facts),
            _origin(facts),
            "## Tokens",
            _tokens(facts),
            _again(facts),
            "## Make it again",
            _recipe(facts),
            "## What was kept out",
            " ".join(sentence(each) for each in facts.kept_out)
            or "The set records nothing that was taken out of its sources because it is in text that judges too.",
            "## Use it",
            fenced(LOAD, "python"),
            *(part for each in quantizer_snippets(facts) for part in _for_tool(each)),
        ]
    )


def _for_tool(snippet: Snippet) -> list[str]:
    return [f"### {snippet.tool}", snippet.note, fenced([*snippet.loads, *snippet.uses], snippet.language)]


def _amount(facts: SetFacts) -> str:
    if facts.length is None:
        return f"{facts.sequences:,} sequences of several lengths, {facts.tokens:,} tokens in all"
    return f"{facts.sequences:,} sequences of {facts.length:,} tokens, {facts.tokens:,} in all"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _choice(facts: SetFacts) -> str:
    chosen = sentence(f"it was chosen {facts.purpose}") if facts.purpose else ""
    return " ".join(part for part in (chosen, sentence(facts.decided) if facts.decided else "") if part)


def _sources(facts: SetFacts) -> str:
    def row(share: SourceShare) -> list[str]:
        return [
            words_of(share.name) or NOT_STATED,
            ORIGINS.get(share.origin, words_of(share.origin)),
            f"{share.documents:,}" if share.documents else NOT_STATED,
            f"{share.rows:,} ({_percent(share.rows / facts.sequences)})",
            f"{share.tokens:,} ({_percent(share.tokens / facts.tokens)})",
            words_of(share.licence) or NOT_STATED,
        ]

    notes = [f"{words_of(s.name)}: {words_of(s.note)}" for s in facts.sources if s.note]
    head = ("source", "origin", "documents", "rows", "tokens", "licence of the text")
    return joined([table(head, map(row, facts.sources)), " ".join(sentence(note) for note in notes)]).rstrip()


def _origin(facts: SetFacts) -> str:
    if facts.writing is not None:
        return _written(facts.writing)
    if {share.origin for share in facts.sources} == {"real"}:
        return "All of it is text as it was found, cut into sequences."
    return ""


def _written(writing: Writing) -> str:
    model = f"The model {words_of(writing.model)}" if writing.model else "A model"
    begun = (
        "" if writing.prefix_length is None else f", each from the first {writing.prefix_length} tokens of a document"
    )
    said = [f"{model} wrote the rows itself{begun}"]
    if writing.decoding:
        values = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in writing.decoding.items())
        said.append(f"It drew its tokens with {words_of(values)}")
    if writing.drop is not None:
        said.append(
            f"The {_percent(writing.drop)} of its rows with the highest perplexity under that model were dropped"
        )
    said.append("What its licence says of its output holds for the rows too")
    return " ".join(sentence(each) for each in said)


def _tokens(facts: SetFacts) -> str:
    def hashed(sha256: str) -> str:
        return f" (sha256 `{sha256}`)" if sha256 else ""

    said = [
        f"The `input_ids` are those of the tokenizer of {words_of(facts.model) or 'a model that is not recorded'}"
        f"{hashed(facts.tokenizer_sha256)}; for a model with another one, take `text`"
    ]
    if facts.seed is not None:
        room = "" if facts.available is None else f"; such sets were cut from {facts.available:,} rows"
        said.append(f"It is set number {facts.seed}{room}")
    if facts.documents_sha256:
        said.append(f"The file of the text had the sha256 `{facts.documents_sha256}`")
    if facts.sha256:
        said.append(f"`set.parquet` has the sha256 `{facts.sha256}`")
    return " ".join(f"{each}." for each in said)


def _again(facts: SetFacts) -> str:
    if facts.again is None:
        return "In how many rows the text gives other ids was not counted: the tokenizer was not at hand."
    if not facts.again.differing:
        return f"{facts.again.sentence}."
    return f"{facts.again.sentence}; take `input_ids` for the model's own tokenizer."


def _recipe(facts: SetFacts) -> str:
    if not facts.recipe:
        return "Which commands made it, its file does not record."
    version = f" {words_of(facts.version)}" if facts.version else ""
    return joined([f"With Calibrant{version}:", fenced(facts.recipe, "sh")]).rstrip()
