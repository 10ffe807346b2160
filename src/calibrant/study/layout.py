"""Where a study's files lie: the one place that the workflow and the report agree on."""

from dataclasses import dataclass
from typing import Any

from calibrant.study.grid import Run, SetKey


@dataclass(frozen=True)
class Layout:
    """Paths of a study, relative to the folder in which the workflow runs."""

    study: str

    @property
    def data(self) -> str:
        """Folder of downloads and stage outputs."""
        return f"data/{self.study}"

    @property
    def report(self) -> str:
        """Folder of tables, figures and the report."""
        return f"reports/{self.study}"

    def calibration_set(self, key: SetKey) -> str:
        """The Parquet file of a calibration set."""
        return f"{self.data}/sets/{key.name}.parquet"

    def generated(self, key: SetKey) -> str:
        """All samples that the model generated from a source, before filtering."""
        return f"{self.data}/generated/{key.pool}.parquet"

    def scores(self, key: SetKey) -> str:
        """Scores of a real set, or of the generated samples that a synthetic set is drawn from."""
        name = f"sets/{key.name}" if key.origin == "real" else f"generated/{key.pool}"
        return f"{self.data}/scores/{name}.parquet"

    def masks(self, run: Run) -> str:
        """The masks of a run."""
        return f"{self.data}/masks/{run.name}.safetensors"

    def evaluation(self, run: Run) -> str:
        """The results of a run."""
        return f"{self.data}/evaluations/{run.name}.json"

    def provenance(self, section: str, name: str) -> str:
        """The sidecar of a source, a text (section `sources`, `texts`) or the model."""
        return (
            f"{self.data}/model/provenance.json"
            if section == "model"
            else f"{self.data}/{section}/{name}/provenance.json"
        )

    def task_files(self, name: str, spec: dict[str, Any]) -> list[str]:
        """The row files of a task; none when lm-eval fetches them from the hub."""
        if spec.get("kind"):
            return [f"{self.data}/tasks/{name}_test.jsonl"]
        return [
            f"{self.data}/tasks/{name}_{split}.jsonl{'.gz' if file.endswith('.gz') else ''}"
            for split, file in spec.get("files", {}).items()
        ]
