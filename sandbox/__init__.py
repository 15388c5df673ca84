"""AWS and GitLab on loopback, for running the whole loop on one machine. Never part of the distribution."""
