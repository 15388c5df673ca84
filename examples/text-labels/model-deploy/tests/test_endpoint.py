"""What the model must get right besides its numbers in quality.yml."""

import pytest

# Sex; length, diameter, height in 200 mm; whole, shucked, viscera and shell weight in 200 g.
SMALL_INFANT = ["I", 0.24, 0.175, 0.045, 0.07, 0.0315, 0.0235, 0.02]
LARGE_MALE = ["M", 0.665, 0.525, 0.165, 1.338, 0.5515, 0.3575, 0.35]  # 18 rings were counted


def test_a_small_infant_is_young_and_a_large_adult_is_old(endpoint):
    assert endpoint.predict([SMALL_INFANT, LARGE_MALE]) == ["young", "old"]


@pytest.mark.parametrize("row", ["M,0.5", "whale,1,1,1,1,1,1,1"], ids=["too few columns", "an unknown sex"])
def test_malformed_input_is_refused(endpoint, row):
    with pytest.raises(endpoint.InvocationFailed):
        endpoint.invoke(row, "text/csv")
