"""What the perplexity of a study's text is of, in words: two perplexities compare only where these are the same."""

from collections.abc import Mapping
from typing import Any

# Data sets whose column of text is a rendering of others: (hub id, column).
TEMPLATES = {
    ("tatsu-lab/alpaca", "text"): "the Alpaca template",
    ("vicgalle/alpaca-gpt4", "text"): "the Alpaca template",
}
BOS = {"always": "with a beginning-of-text token at the head", "never": "without a beginning-of-text token"}


def text_definition(config: Mapping[str, Any], name: str) -> str:
    """How the perplexity of a text is taken: windows, templates, averages, amounts.

    `windows of 2,048 tokens of the documents joined, each rendered with the Alpaca template; the first 50,000 tokens`.
    A template is known of some data sets on the hub; rows of files are said to be nothing but documents.

    Args:
        config: a resolved configuration.
        name: one of its texts.
    """
    spec, chosen = config["texts"][name], config["evaluation"]
    template = TEMPLATES.get((spec.get("hub", ""), spec.get("text_key", "text")))
    windows = f"windows of {chosen['length']:,} tokens"
    apart = chosen["text_average"] == "document"
    if apart:
        said = f"mean of the perplexities of single documents, {windows} of each alone"
        said += f" and rendered with {template}" if template else ""
    else:
        said = f"{windows} of the documents joined"
        said += f", each rendered with {template}" if template else ""
    parts = [said, *_amounts(spec, chosen["text_tokens"], apart=apart)]
    return "; ".join([*parts, *([BOS[chosen["bos"]]] if chosen["bos"] in BOS else [])])


def text_tasks(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """The texts of a configuration as entries of the index's tasks."""
    return [{"name": name, "definition": text_definition(config, name)} for name in config["texts"]]


def _amounts(spec: Mapping[str, Any], tokens: int, *, apart: bool) -> list[str]:
    """What of a text is read, and what of that is used; nothing where all of it is."""
    documents, characters = spec.get("max_documents"), spec.get("max_characters")
    found = [f"the first {documents:,} documents"] if documents else []
    found += [f"documents until they hold {characters:,} characters"] if characters else []
    if tokens:
        found.append(f"whole documents until they hold {tokens:,} tokens" if apart else f"the first {tokens:,} tokens")
    return found
