"""The components' one source: `python -m components` writes `templates/` and whatever else lists components or inputs.

inputs.yml is the table, <component>/template.yml.j2 a component's body, <component>/README.md.j2 its page, shared/ what
they have in common. Never shipped: what `ci_scripts` has to know is written into it.
"""
