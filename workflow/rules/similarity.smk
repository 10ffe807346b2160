# Stage similarity: how alike the sources are (paper, section 3.4), and which documents two of them share. Made for the target
# similarity, each source as reference, and for the report of a study that has `trained_on`, with those as references.


rule compare_sources:
    """Jaccard similarity of every other source to {wildcards.source}."""
    input:
        reference=f"{DATA}/sources/{{source}}/documents.parquet",
        others=other_sources,
        model=f"{DATA}/model" if config["similarity"]["shingle"] == "token" else [],
    output:
        table=PATHS.similarity("{source}"),
        duplicates=f"{DATA}/similarity/{{source}}.duplicates.parquet",
    log:
        f"{DATA}/logs/similarity/{{source}}.log",
    benchmark:
        f"{DATA}/benchmarks/similarity/{{source}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=request_of("similarity", "mem_mb"),
        runtime=request_of("similarity", "runtime"),
    params:
        options=literal(similarity_options()),
        model=lambda wildcards, input: option("model", input.model),
        code=code("similarity"),
        versions=installed_versions("datasketch", "numpy"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/similarity.py --reference {input.reference:q} {input.others:q} {params.options:q}'
        " {params.model:q} --duplicates {output.duplicates:q} --output {output.table:q} &> {log:q}"


rule contamination:
    """Evaluation items that occur in the sources."""
    input:
        sources=[f"{DATA}/sources/{name}/documents.parquet" for name in config["sources"]],
        texts=text_files(),
        tasks=all_task_files(),
    output:
        PATHS.contamination(),
    log:
        f"{DATA}/logs/contamination.log",
    benchmark:
        f"{DATA}/benchmarks/contamination.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=request_of("similarity", "mem_mb"),
        runtime=request_of("similarity", "runtime"),
    params:
        options=literal(contamination_options()),
        files=item_files,
        code=code("contamination"),
        versions=installed_versions("lm_eval", "numpy"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/contamination.py {input.sources:q} {params.options:q} {params.files:q} --output {output:q} &> {log:q}'
