"""How other programs are given a set: lines for a dataset's card, each from the folder to a quantized model."""

import json
import shlex
from dataclasses import dataclass

from calibrant.calibration.set_facts import SetFacts

OPEN = "from datasets import load_from_disk"


@dataclass(frozen=True)
class Snippet:
    """What hands a set to one program.

    Attributes:
        tool: its name.
        note: what to mind there, in sentences.
        loads: lines of Python that make `rows`; they need `datasets` alone.
        uses: lines that give the rows to the program, in Python; in a shell where nothing is loaded.
    """

    tool: str
    note: str
    loads: tuple[str, ...]
    uses: tuple[str, ...]

    @property
    def language(self) -> str:
        """Of the lines, as a fence of Markdown names it."""
        return "python" if self.loads else "sh"


def quantizer_snippets(facts: SetFacts) -> list[Snippet]:
    """One for each program that was looked at; the first three take the ids, llama.cpp a text or an importance matrix.

    Args:
        facts: of the set; its rows may be of several lengths, which the lines then count.
    """
    model = json.dumps(facts.model or "MODEL", ensure_ascii=False)
    return [_llm_compressor(facts, model), _auto_round(model), _gptqmodel(model), _llama_cpp(facts)]


def _llm_compressor(facts: SetFacts, model: str) -> Snippet:
    length = facts.length or 'max(map(len, rows["input_ids"]))'
    return Snippet(
        "llm-compressor",
        "It takes the ids as they are. By default it shuffles the rows, which changes the order alone.",
        (OPEN, 'rows = load_from_disk("dataset").select_columns(["input_ids"])'),
        (
            "from llmcompressor import oneshot",
            "from llmcompressor.modifiers.quantization import GPTQModifier",
            "# W4A16 has groups of 128 columns: they must divide the columns of every linear layer",
            'recipe = GPTQModifier(targets="Linear", scheme="W4A16", ignore=["re:.*lm_head"])',
            f'oneshot(model={model}, dataset=rows, recipe=recipe, output_dir="quantized",',
            f"        max_seq_length={length}, num_calibration_samples={facts.sequences},",
            "        shuffle_calibration_samples=False)",
        ),
    )


def _auto_round(model: str) -> Snippet:
    return Snippet(
        "AutoRound",
        "It takes a list of tensors of one row each, all of one length, to which these lines cut. It drops rows that "
        "are shorter than `seqlen`, 2,048 by default, so that `seqlen` must be given.",
        (
            "import torch",
            OPEN,
            'ids = load_from_disk("dataset")["input_ids"]',
            "length = min(map(len, ids))",
            "rows = [torch.tensor([row[:length]]) for row in ids]",
        ),
        (
            "from auto_round import AutoRound",
            f'rounding = AutoRound({model}, scheme="W4A16", dataset=rows, seqlen=length, nsamples=len(rows))',
            'rounding.quantize_and_save("quantized", format="auto_round")',
        ),
    )


def _gptqmodel(model: str) -> Snippet:
    return Snippet(
        "GPTQModel",
        "Give it the ids alone: where a row has a `text` too, it takes that and tokenises it anew. It drops rows of 10 "
        "tokens or fewer.",
        (
            OPEN,
            'ids = load_from_disk("dataset")["input_ids"]',
            'rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]',
        ),
        (
            "from gptqmodel import GPTQModel, QuantizeConfig",
            f"model = GPTQModel.load({model}, QuantizeConfig(bits=4, group_size=128))",
            "model.quantize(rows)",
            'model.save("quantized")',
        ),
    )


def _llama_cpp(facts: SetFacts) -> Snippet:
    given = shlex.join(["--model", facts.model or "MODEL", "--output", "imatrix.gguf"])
    cut = f"-c {facts.length} " if facts.length else ""
    text = (
        "# or of the text, which it tokenises and cuts anew",
        f"llama-imatrix -m model-f16.gguf -f set.txt {cut}-o imatrix.gguf",
    )
    return Snippet(
        "llama.cpp",
        "Its importance matrix can be made of the ids by Calibrant, or of the text by its own program.",
        (),
        (
            "# of the ids, where set.parquet lies",
            f"calibrant export --format imatrix --calibration set.parquet {given}",
            *(text if facts.text else ()),
            "llama-quantize --imatrix imatrix.gguf model-f16.gguf model-q4.gguf Q4_K_M",
        ),
    )
