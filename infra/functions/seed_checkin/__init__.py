"""Lambda `seed_checkin`: see handler.py; a custom resource of infra/project.yml, from the archive of infra/archive.py."""
