"""What the model must get right besides its numbers in quality.yml."""

ADULT_FEMALE = [1, 0, 0, 0.53, 0.42, 0.135, 0.677, 0.2565, 0.1415, 0.21]  # 9 rings were counted


def test_the_age_of_a_known_abalone_is_plausible(endpoint):
    [rings] = endpoint.predict([ADULT_FEMALE])
    assert 6 < rings < 14
