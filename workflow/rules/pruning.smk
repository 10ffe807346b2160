# Stage prune: one mask a job. What several masks of a calibration set have in common, the pass over the dense model for
# OWL's allocation or for sequential=dense, is a file of its own, computed once for all methods, ratios and patterns.


rule dense_statistics:
    """Statistics of the dense model on {wildcards.calibration}."""
    input:
        calibration=f"{DATA}/sets/{{calibration}}.parquet",
        model=f"{DATA}/model",
        number_format=number_format(),
    output:
        statistics_output(f"{DATA}/statistics/{{calibration}}.safetensors"),
    log:
        f"{DATA}/logs/statistics/{{calibration}}.log",
    benchmark:
        f"{DATA}/benchmarks/statistics/{{calibration}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    resources:
        **GPU,
        mem_mb=request_of("dense statistics", "mem_mb"),
        runtime=request_of("dense statistics", "runtime"),
    params:
        options=literal(flags("statistics", kinds=dense_kinds(), exclude=config["pruning"]["options"].get("exclude"))),
        compute=literal(compute_options()),
        resolved=resolved,
        code=code("statistics"),
        versions=TORCH,
    shell:
        'python "$CALIBRANT_SCRIPTS"/dense_statistics.py --model {input.model:q} --calibration {input.calibration:q}'
        " {params.options:q} {params.compute:q} {params.resolved:q} --threads {threads:q}"
        " --output {output:q} &> {log:q}"


rule prune:
    """Prune with {wildcards.method} to {wildcards.level}, calibrated on {wildcards.calibration}."""
    input:
        calibration=f"{DATA}/sets/{{calibration}}.parquet",
        model=f"{DATA}/model",
        number_format=number_format(),
        statistics=dense_statistics,
    output:
        masks=f"{DATA}/masks/{{calibration}}/{{method}}-{{level}}.safetensors",
    log:
        f"{DATA}/logs/prune/{{calibration}}/{{method}}-{{level}}.log",
    benchmark:
        f"{DATA}/benchmarks/prune/{{calibration}}/{{method}}-{{level}}.jsonl"
    priority: RACE_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    resources:
        **GPU,
        mem_mb=request_of("prune", "mem_mb"),
        runtime=request_of("prune", "runtime"),
    params:
        target=asked_target,
        options=pruning_options,
        statistics=lambda wildcards, input: option("statistics", input.statistics),
        compute=literal(compute_options()),
        resolved=resolved,
        code=code("prune"),
        versions=TORCH,
    shell:
        'python "$CALIBRANT_SCRIPTS"/prune.py --model {input.model:q} --calibration {input.calibration:q}'
        " --method {wildcards.method:q} {params.target:q} {params.options:q} {params.statistics:q}"
        " {params.compute:q} {params.resolved:q}"
        " --threads {threads:q} --output {output.masks:q} &> {log:q}"


if PASSING_WEIGHTS:

    use rule prune as prune_in_passing with:
        output:
            masks=f"{DATA}/masks/{{calibration}}/{{method}}-{{level}}.safetensors",
            weights=temp(f"{DATA}/masks/{{calibration}}/{{method}}-{{level}}.weights.safetensors"),
        wildcard_constraints:
            method="|".join(PASSING_WEIGHTS),

    ruleorder: prune_in_passing > prune


rule prune_without_data:
    """Compress by {wildcards.method} to {wildcards.level}."""
    input:
        model=f"{DATA}/model",
        number_format=number_format(),
    output:
        f"{DATA}/masks/none/{{method}}-{{level}}.safetensors",
    log:
        f"{DATA}/logs/prune/none/{{method}}-{{level}}.log",
    benchmark:
        f"{DATA}/benchmarks/prune/none/{{method}}-{{level}}.jsonl"
    wildcard_constraints:
        method="|".join(WITHOUT_DATA),
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    resources:
        **GPU,
        mem_mb=request_of("prune", "mem_mb"),
        runtime=request_of("prune", "runtime"),
    params:
        target=asked_target,
        options=pruning_options,
        compute=literal(compute_options()),
        resolved=resolved,
        code=code("prune"),
        versions=TORCH,
    shell:
        'python "$CALIBRANT_SCRIPTS"/prune.py --model {input.model:q} --method {wildcards.method:q} {params.target:q}'
        " {params.options:q} {params.compute:q} {params.resolved:q} --threads {threads:q} --output {output:q} &> {log:q}"
