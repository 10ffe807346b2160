# Stages inspect and overlap: what pruning did to each decoder layer, on the text that masks were calibrated on and on
# text held out from them, and which positions masks of different text have in common.
COMPARED = compared(config)


rule inspect:
    """Look into {wildcards.method} at {wildcards.level}, calibrated on {wildcards.calibration}."""
    input:
        masks=f"{DATA}/masks/{{calibration}}/{{method}}-{{level}}.safetensors",
        weights=updated_weights,
        model=f"{DATA}/model",
        number_format=number_format(),
        sets=inspected_sets,
    output:
        figures=f"{DATA}/inspections/{{calibration}}/{{method}}-{{level}}.json",
        provenance=f"{DATA}/inspections/{{calibration}}/{{method}}-{{level}}.provenance.json",
    log:
        f"{DATA}/logs/inspect/{{calibration}}/{{method}}-{{level}}.log",
    benchmark:
        f"{DATA}/benchmarks/inspect/{{calibration}}/{{method}}-{{level}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    resources:
        **GPU,
        mem_mb=request_of("inspect", "mem_mb"),
        runtime=request_of("inspect", "runtime"),
    params:
        sets=lambda wildcards, input: option("text-set", *input.sets),
        options=literal(flags("inspect", **{name: config["inspect"][name] for name in ("sequences", "tokens")})),
        compute=literal(compute_options()),
        resolved=resolved,
        code=code("inspect"),
        versions=TORCH,
    shell:
        'python "$CALIBRANT_SCRIPTS"/inspect_masks.py {input.masks:q} --model {input.model:q} {params.sets:q}'
        " {params.options:q} {params.compute:q} {params.resolved:q} --threads {threads:q}"
        " --output {output.figures:q} &> {log:q}"


if COMPARED:

    rule overlap:
        """Count the positions that the masks of different text and seeds have in common."""
        input:
            [PATHS.masks(run) for run in COMPARED],
        output:
            PATHS.overlap(),
        log:
            f"{DATA}/logs/overlap.log",
        benchmark:
            f"{DATA}/benchmarks/overlap.jsonl"
        conda:
            "../../envs/cpu.yaml"
        resources:
            mem_mb=request_of("overlap", "mem_mb"),
            runtime=request_of("overlap", "runtime"),
        params:
            code=code("overlap"),
            versions=installed_versions("numpy", "safetensors"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/overlap.py {input:q} --output {output:q} &> {log:q}'
