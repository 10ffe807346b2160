# What the preset tiny needs: a random model and made-up text, so that every target runs in minutes and without a network.
TINY = "data/tiny-material"


rule tiny_material:
    """Make a random model of two layers, three sources and a text."""
    output:
        [local(f"{TINY}/model/{name}") for name in ("config.json", "model.safetensors", "tokenizer.json")],
        texts=[local(f"{TINY}/{name}.jsonl") for name in ("harbour", "orchard", "quarry", "meadow")],
    log:
        "data/tiny-material/make.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        output=lambda wildcards, output: str(Path(output.texts[0]).parent),
        code=CODE.digest("calibrant.models.tiny"),
        versions=TORCH,
    shell:
        'python "$CALIBRANT_SCRIPTS"/tiny.py --output {params.output:q} --texts harbour orchard quarry meadow &> {log:q}'
