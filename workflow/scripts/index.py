"""Write the index of a study for `calibrant summarize`: the resolved configuration in, runs and paths out."""

import argparse
import json

from calibrant.artefacts.atomic import read_json, write_json
from calibrant.study.index import study_index

parser = argparse.ArgumentParser()
parser.add_argument("--config", required=True, help="resolved configuration as JSON")
parser.add_argument("--model", required=True, help="the model's provenance.json")
parser.add_argument("--packages", default="")
parser.add_argument("--output", required=True)
options = parser.parse_args()
write_json(options.output, study_index(json.loads(options.config), read_json(options.model), options.packages))
