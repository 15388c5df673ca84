"""What is so: users, groups, projects, their pipelines and jobs, and the git repositories."""
