"""From jobs to results: pipelines are created, scheduled and run, and what follows a push."""
