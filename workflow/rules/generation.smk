# Stages generate and score: once per source, whatever the number of seeds drawn from it later.


rule generate:
    """Let the model continue the first {wildcards.prefix} tokens of documents of {wildcards.source}."""
    input:
        documents=CALIBRATION_TEXT,
        model=f"{DATA}/model",
        number_format=number_format(),
    output:
        f"{DATA}/generated/{{source}}-p{{prefix}}.parquet",
    log:
        f"{DATA}/logs/generate/{{source}}-p{{prefix}}.log",
    benchmark:
        f"{DATA}/benchmarks/generate/{{source}}-p{{prefix}}.jsonl"
    priority: WRITING_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    resources:
        **GPU,
        mem_mb=request_of("generate", "mem_mb"),
        runtime=request_of("generate", "runtime"),
    params:
        options=literal(generation_options()),
        compute=literal(compute_options()),
        resolved=resolved,
        code=code("generate"),
        versions=TORCH,
    shell:
        'python "$CALIBRANT_SCRIPTS"/generate.py --documents {input.documents:q} --model {input.model:q}'
        " --prefix-length {wildcards.prefix:q} --source {wildcards.source:q}"
        " {params.options:q} {params.compute:q} {params.resolved:q} --threads {threads:q} --output {output:q} &> {log:q}"


rule score:
    """Perplexity and Min-K%++ of the samples {wildcards.name} under the model."""
    input:
        samples=f"{DATA}/{{kind}}/{{name}}.parquet",
        model=f"{DATA}/model",
        number_format=number_format(),
    output:
        f"{DATA}/scores/{{kind}}/{{name}}.parquet",
    log:
        f"{DATA}/logs/score/{{kind}}-{{name}}.log",
    benchmark:
        f"{DATA}/benchmarks/score/{{kind}}-{{name}}.jsonl"
    priority: WRITING_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    resources:
        **GPU,
        mem_mb=request_of("score", "mem_mb"),
        runtime=request_of("score", "runtime"),
    params:
        options=literal(flags("score", **config["scoring"])),
        compute=literal(compute_options()),
        resolved=resolved,
        code=code("score"),
        versions=TORCH,
    shell:
        'python "$CALIBRANT_SCRIPTS"/score.py --samples {input.samples:q} --model {input.model:q}'
        " {params.options:q} {params.compute:q} {params.resolved:q} --threads {threads:q}"
        " --output {output:q} &> {log:q}"
