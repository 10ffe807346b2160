"""Put your copies of the corpora and task rows of realdata.yaml where it looks for them: python ... FOLDER.

FOLDER holds `corpora` and `eval`. Corpora and most tasks are copied as they are; Alpaca is written with its template.
Of MMLU the shortest question of 15 words or more of each subject is taken, choices counted: all 57 subjects are there,
and a laptop gets through them three hundred times.
"""

import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

TARGET = Path("data/realdata-files")
COPIED = (
    "corpora/c4_en.jsonl.gz",
    "corpora/wikipedia_en.jsonl.gz",
    "corpora/redpajama_sample.jsonl.gz",
    "corpora/dclm_refinedweb.jsonl.gz",
    "eval/boolq_validation.jsonl.gz",
    "eval/winogrande_xl_validation.jsonl",
    "eval/piqa_validation.jsonl",
    "eval/hellaswag_validation.jsonl.gz",
    "eval/arc_easy_test.jsonl",
    "eval/arc_challenge_test.jsonl",
)
# The two templates of tatsu-lab/stanford_alpaca, with and without an input.
HEAD = (
    "Below is an instruction that describes a task{context}. Write a response that appropriately completes the request."
)
CONTEXT = ", paired with an input that provides further context"


def main(folder: Path) -> None:
    """Fill `data/realdata`."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        _put(Path(name).name, (folder / name).read_bytes())
    _write("alpaca.jsonl", ({"text": _alpaca(row)} for row in _rows(folder / "corpora/alpaca_9k.jsonl.gz")))
    questions: dict[str, list[dict[str, str]]] = {}
    for row in _rows(folder / "eval/mmlu_test.jsonl.gz"):
        if _words(row) >= 15:
            questions.setdefault(row["subject"], []).append(row)
    _write("mmlu_short.jsonl", (min(rows, key=_words) for rows in questions.values()))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _words(row: dict[str, str]) -> int:
    return len(" ".join((row["question"], *row["choices"])).split())


def _alpaca(row: dict[str, str]) -> str:
    parts = [HEAD.format(context=CONTEXT if row["input"] else ""), f"### Instruction:\n{row['instruction']}"]
    parts += [f"### Input:\n{row['input']}"] if row["input"] else []
    return "\n\n".join([*parts, f"### Response:\n{row['output']}"])


def _write(name: str, rows: Iterable[dict[str, str]]) -> None:
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    _put(name, text.encode())


def _put(name: str, content: bytes) -> None:
    """Leave a file alone that is right already: a newer one would have the study run again."""
    path = TARGET / name
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("one argument: the folder that holds corpora/ and eval/")
    main(Path(sys.argv[1]))
