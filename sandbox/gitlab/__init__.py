"""A small GitLab on loopback: REST v4, git over HTTP, CI/CD pipelines. python-gitlab and git are its clients."""
