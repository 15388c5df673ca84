"""What is in AWS and GitLab: the product installed (installed.py), and what people do with it (people.py, loop.py)."""
