"""`calibrant plan`: count a study's work before anything runs."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("config", nargs="?", default="config.yaml", help="the study's YAML file (config.yaml)")


def run(options: argparse.Namespace) -> None:
    """Print one line a count."""
    from calibrant.study.config import load_config
    from calibrant.study.plan import plan

    config = load_config(options.config)
    counts = plan(config)
    width = max(map(len, counts))
    print(f"study {config['study']}: preset {config['preset']}, experiment {config['experiment']}")
    for name, count in counts.items():
        print(f"  {name:<{width}}  {count:>12,}")
