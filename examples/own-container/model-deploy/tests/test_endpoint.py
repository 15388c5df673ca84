"""What the container of our own must get right besides its numbers in quality.yml."""

import pytest

ADULT_FEMALE = [1, 0, 0, 0.53, 0.42, 0.135, 0.677, 0.2565, 0.1415, 0.21]  # 9 rings were counted


def test_the_age_of_a_known_abalone_is_plausible(endpoint):
    [rings] = endpoint.predict([ADULT_FEMALE])
    assert 6 < rings < 14


@pytest.mark.parametrize(
    "row", [["not", "an", "abalone"], [9, *ADULT_FEMALE], ADULT_FEMALE[1:]], ids=["words", "too many", "too few"]
)
def test_malformed_input_is_refused(endpoint, row):
    with pytest.raises(endpoint.InvocationFailed):
        endpoint.invoke(",".join(map(str, row)), "text/csv")
