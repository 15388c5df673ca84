"""Lambda `pipeline_trigger`: see handler.py; deployed by infra/trigger.yml from the archive of infra/archive.py."""
