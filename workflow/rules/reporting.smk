# Stage summarize: tables, figures and the report of the study.
REPORT_FILES = [f"{REPORT}/{name}" for name in ("index.html", "summary.md", "results.parquet")]


localrules:
    index,


rule index:
    """List every run of the study and where its results lie."""
    input:
        f"{DATA}/model",
    output:
        f"{DATA}/index.json",
    log:
        f"{DATA}/logs/summarize/index.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        config=json.dumps(config),
        packages=installed_versions("torch", "transformers", "lm_eval", "snakemake"),
        code=code_digest("calibrant.study.index"),
    shell:
        "python workflow/scripts/index.py --config {params.config:q} --model {input:q}/provenance.json"
        " --packages {params.packages:q} --output {output:q} &> {log:q}"


rule summarize:
    """Make the tables, figures and the report."""
    input:
        index=f"{DATA}/index.json",
        evaluations=[LAYOUT.evaluation(run) for run in RUNS],
        masks=[LAYOUT.masks(run) for run in RUNS if run.method != "dense"],
        scores=score_files(),
        samples=sample_files(),
        sets=set_files(),
        provenance=provenance_files(),
    output:
        page=report(
            f"{REPORT}/index.html",
            caption="../report/page.rst",
            category="Report",
            labels={"what": "the whole report on one page"},
        ),
        summary=f"{REPORT}/summary.md",
        results=f"{REPORT}/results.parquet",
        csv=f"{REPORT}/results.csv",
        provenance=f"{REPORT}/provenance.json",
        tables=report(
            directory(f"{REPORT}/tables"),
            patterns=["{name}.csv"],
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{name}"},
        ),
        figures=report(
            directory(f"{REPORT}/figures"),
            patterns=["{name}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
    log:
        f"{DATA}/logs/summarize/summarize.log",
    benchmark:
        f"{DATA}/benchmarks/summarize/summarize.jsonl"
    conda:
        "../../envs/cpu.yaml"
    params:
        output=report_folder,
        code=code("summarize"),
        templates=data_digest("calibrant.reporting"),
        versions=installed_versions("polars", "matplotlib", "scipy"),
    shell:
        "python workflow/scripts/summarize.py --results {input.index:q} --output {params.output:q} &> {log:q}"
