# Stage summarize: tables, figures and the report, of the study and of each target (a table or figure of the paper).
REPORT_FILES = [f"{OWN_REPORT}/{name}" for name in ("index.html", "summary.md", "results.parquet")]


rule index:
    """List every run of the study and where its results lie."""
    input:
        model=f"{DATA}/model",
        number_format=number_format(),
    output:
        PATHS.index(),
    log:
        f"{DATA}/logs/summarize/index.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        config=literal(json.dumps(config)),
        packages=installed_versions("torch", "transformers", "lm_eval", "snakemake"),
        resolved=resolved,
        code=CODE.digest("calibrant.study.report_index"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/index.py --config {params.config:q} --model {input.model:q}/provenance.json'
        " {params.resolved:q} --packages {params.packages:q} --output {output:q} &> {log:q}"


rule summarize:
    """Make the tables, figures and the report."""
    input:
        **needed(),
        index=PATHS.index(),
    output:
        page=report(
            f"{OWN_REPORT}/index.html",
            caption="../report/page.rst",
            category="Report",
            labels={"what": "the whole report on one page"},
        ),
        summary=f"{OWN_REPORT}/summary.md",
        results=f"{OWN_REPORT}/results.parquet",
        csv=f"{OWN_REPORT}/results.csv",
        provenance=f"{OWN_REPORT}/provenance.json",
        tables=report(
            directory(f"{OWN_REPORT}/tables"),
            patterns=["{name}.csv"],
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{name}"},
        ),
        figures=report(
            directory(f"{OWN_REPORT}/figures"),
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
    resources:
        mem_mb=request_of("report", "mem_mb"),
        runtime=request_of("report", "runtime"),
    params:
        output=report_folder,
        root=copies,
        code=code("summarize"),
        templates=data_digest("calibrant.reporting"),
        versions=installed_versions("polars", "matplotlib", "scipy"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/summarize.py --results {input.index:q} {params.root:q} --output {params.output:q} &> {log:q}'


use rule index as target_index with:
    output:
        PATHS.index("{target}"),
    log:
        f"{DATA}/logs/summarize/{{target}}-index.log",
    wildcard_constraints:
        target="|".join([*TARGETS, PAPER]),
    params:
        config=lambda wildcards: json.dumps(report_config(wildcards.target)),
        packages=installed_versions("torch", "transformers", "lm_eval", "snakemake"),
        resolved=resolved,
        code=CODE.digest("calibrant.study.report_index"),


rule target_report:
    """Draw {wildcards.target} of the paper."""
    input:
        unpack(lambda wildcards: needed(wildcards.target)),
        index=PATHS.index("{target}"),
    output:
        page=report(
            PATHS.target_report("{target}"),
            caption="../report/page.rst",
            category="{target}",
            labels={"what": "the page"},
        ),
        summary=f"{REPORT}/{{target}}/summary.md",
        results=f"{REPORT}/{{target}}/results.parquet",
        csv=f"{REPORT}/{{target}}/results.csv",
        provenance=f"{REPORT}/{{target}}/provenance.json",
        tables=report(
            directory(f"{REPORT}/{{target}}/tables"),
            patterns=["{name}.csv"],
            caption="../report/table.rst",
            category="{target}",
            labels={"what": "table {name}"},
        ),
        figures=report(
            directory(f"{REPORT}/{{target}}/figures"),
            patterns=["{name}.svg"],
            caption="../report/figure.rst",
            category="{target}",
            labels={"what": "figure {name}"},
        ),
    log:
        f"{DATA}/logs/summarize/{{target}}.log",
    benchmark:
        f"{DATA}/benchmarks/summarize/{{target}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=request_of("report", "mem_mb"),
        runtime=request_of("report", "runtime"),
    params:
        output=report_folder,
        root=copies,
        code=code("summarize"),
        templates=data_digest("calibrant.reporting"),
        versions=installed_versions("polars", "matplotlib", "scipy"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/summarize.py --results {input.index:q} {params.root:q} --output {params.output:q} &> {log:q}'


# A rule for each table and figure, so that its name is a target: snakemake table2.
for name in TARGETS:

    rule:
        name:
            name
        input:
            PATHS.target_report(name),


rule paper_report:
    """Judge the paper's conclusions by the runs of all targets, and put every table and figure on one page."""
    input:
        # Their pages are newer than whatever they were made from, which this page is made from, too.
        [PATHS.target_report(name) for name in TARGETS],
        [PATHS.index(name) for name in TARGETS],
        index=PATHS.index(PAPER),
    output:
        page=report(
            PATHS.target_report(PAPER),
            caption="../report/page.rst",
            category="Report",
            labels={"what": "every table, figure and conclusion on one page"},
        ),
        summary=f"{REPORT}/{PAPER}/summary.md",
        results=f"{REPORT}/{PAPER}/results.parquet",
        csv=f"{REPORT}/{PAPER}/results.csv",
        provenance=f"{REPORT}/{PAPER}/provenance.json",
        tables=report(
            directory(f"{REPORT}/{PAPER}/tables"),
            patterns=["claims.csv"],
            caption="../report/table.rst",
            category="Report",
            labels={"what": "the paper's conclusions"},
        ),
        figures=directory(f"{REPORT}/{PAPER}/figures"),
    log:
        f"{DATA}/logs/summarize/{PAPER}.log",
    benchmark:
        f"{DATA}/benchmarks/summarize/{PAPER}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=request_of("report", "mem_mb"),
        runtime=request_of("report", "runtime"),
    params:
        output=report_folder,
        root=copies,
        code=code("summarize"),
        templates=data_digest("calibrant.reporting"),
        versions=installed_versions("polars", "matplotlib", "scipy"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/summarize.py --results {input.index:q} {params.root:q} --output {params.output:q} &> {log:q}'


rule paper:
    """Every table and figure of the paper, and its conclusions, on one page."""
    input:
        PATHS.target_report(PAPER),


# A word that is neither a rule nor a file here. Its wildcard leaves out files of the working folder, which no rule makes.
rule unknown_target:
    """Say what can be asked for."""
    input:
        unknown_target,
    output:
        "{word}",
    wildcard_constraints:
        word=NO_FILE,
