"""What the model must get right besides its numbers in quality.yml: each call of `predict` is a run of the pipeline."""

# Sex F, I, M; length, diameter, height; whole, shucked, viscera and shell weight. No id: that is for the nightly runs.
SMALL_INFANT = [0, 1, 0, 0.24, 0.175, 0.045, 0.07, 0.0315, 0.0235, 0.02]
ADULT_FEMALE = [1, 0, 0, 0.53, 0.42, 0.135, 0.677, 0.2565, 0.1415, 0.21]  # 9 rings were counted
LARGE_MALE = [0, 0, 1, 0.665, 0.525, 0.165, 1.338, 0.5515, 0.3575, 0.35]  # 18 rings were counted


def test_the_ages_of_known_abalones_are_plausible(batch):
    infant, female, male = batch.predict([SMALL_INFANT, ADULT_FEMALE, LARGE_MALE])
    assert infant < female < male
    assert 6 < female < 14
