"""The table of what masks have in common, without what it takes to make it."""

import pyarrow as pa

from calibrant.artefacts.table_form import Column, TableForm

OVERLAP = TableForm(
    "a table of overlaps",
    "calibrant overlap",
    (
        Column("a", pa.string()),
        Column("b", pa.string()),
        Column("layer", pa.string(), null=True),  # null: the whole model
        Column("weights", pa.int64(), low=0),
        Column("kept_in_both", pa.float64(), low=0, high=1),
        Column("jaccard_kept", pa.float64(), low=0, high=1),
        Column("jaccard_pruned", pa.float64(), low=0, high=1),
        Column("jaccard_pruned_by_chance", pa.float64(), low=0, high=1),
    ),
    stages=("overlap",),
)
