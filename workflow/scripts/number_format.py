"""Resolve `compute.dtype: auto` for a study, on the machine where it begins."""

import argparse

from one_line import one_line

from calibrant.models.checkpoint.resolution import write_resolved

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True, help="model folder")
parser.add_argument("--device", required=True, help="the study's compute.device")
parser.add_argument("--output", required=True, help="JSON file to write")
options = parser.parse_args()
with one_line():
    write_resolved(options.output, options.model, options.device).say()
