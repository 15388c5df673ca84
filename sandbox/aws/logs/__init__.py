"""CloudWatch Logs: streams.py writes those of containers and functions, groups.py adds to the API of moto."""
