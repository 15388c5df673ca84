"""One deployment on a real AWS account and a real GitLab, by whoever has them: `make acceptance`."""
