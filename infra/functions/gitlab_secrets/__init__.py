"""What a secret of Secrets Manager holds for GitLab. infra/archive.py puts it into both functions' archives."""
