"""`sagemaker-ci build`: the approved model package pinned, the stage configs checked and exported."""
