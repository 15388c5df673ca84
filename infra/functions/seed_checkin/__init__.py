"""Lambda `seed_checkin`: see handler.py; from the archive of infra/archive.py."""
