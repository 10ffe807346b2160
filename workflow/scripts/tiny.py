"""Make the model and the text of the preset tiny."""

import argparse
from pathlib import Path

from one_line import one_line

from calibrant.models.tiny import make_documents, write_documents, write_tiny_model

parser = argparse.ArgumentParser()
parser.add_argument("--output", required=True, help="folder for model/ and NAME.jsonl")
parser.add_argument("--texts", required=True, nargs="+", help="names of the sources and texts")
options = parser.parse_args()
output = Path(options.output)
with one_line():
    texts = {name: make_documents(name, 60, 150) for name in options.texts}
    for name, documents in texts.items():
        write_documents(output / f"{name}.jsonl", documents)
    write_tiny_model(output / "model", [document for documents in texts.values() for document in documents])
