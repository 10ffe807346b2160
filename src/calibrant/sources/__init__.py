"""Where text, models and task rows come from: package archives, local files, the hub; cleaned and recorded."""
