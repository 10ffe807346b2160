"""Write the index of a study for `calibrant summarize`: the resolved configuration in, runs and paths out."""

import argparse
import json

from one_line import one_line

from calibrant.artefacts.atomic import read_json, write_json
from calibrant.study.report_index import study_index

parser = argparse.ArgumentParser()
parser.add_argument("--config", required=True, help="resolved configuration as JSON")
parser.add_argument("--model", required=True, help="the model's provenance.json")
parser.add_argument("--resolved", help="what compute.dtype: auto was resolved to")
parser.add_argument("--packages", default="")
parser.add_argument("--output", required=True)
options = parser.parse_args()
with one_line():
    resolved = read_json(options.resolved) if options.resolved else None
    config, model = json.loads(options.config), read_json(options.model)
    write_json(options.output, study_index(config, model, options.packages, resolved))
