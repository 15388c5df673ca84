"""What the model must get right besides its numbers in quality.yml. These tests are yours: change them freely.

`endpoint` is the deployed staging endpoint, `held_out` the data that quality.yml names.
"""

import pytest

# The features of one abalone, as the training pipeline orders them:
# sex F, I, M; length, diameter, height; whole, shucked, viscera and shell weight. Lengths in 200 mm, weights in 200 g.
SMALL_INFANT = [0, 1, 0, 0.24, 0.175, 0.045, 0.07, 0.0315, 0.0235, 0.02]
ADULT_FEMALE = [1, 0, 0, 0.53, 0.42, 0.135, 0.677, 0.2565, 0.1415, 0.21]  # 9 rings were counted
LARGE_MALE = [0, 0, 1, 0.665, 0.525, 0.165, 1.338, 0.5515, 0.3575, 0.35]  # 18 rings were counted


def test_the_age_of_a_known_abalone_is_plausible(endpoint):
    [rings] = endpoint.predict([ADULT_FEMALE])
    assert 6 < rings < 14


def test_a_small_infant_is_younger_than_a_large_adult(endpoint):
    infant, adult = endpoint.predict([SMALL_INFANT, LARGE_MALE])
    assert infant < adult


def test_a_batch_gets_the_same_answers_as_its_rows_one_by_one(endpoint, held_out):
    rows = held_out.features[:5]
    one_by_one = [endpoint.predict([row])[0] for row in rows]
    assert endpoint.predict(rows) == pytest.approx(one_by_one)


# The label left in, say. Too few columns are no error: XGBoost takes what is not there for a missing value.
A_COLUMN_TOO_MANY = [9, *ADULT_FEMALE]


@pytest.mark.parametrize("row", [["not", "an", "abalone"], A_COLUMN_TOO_MANY], ids=["words", "a column too many"])
def test_malformed_input_is_refused(endpoint, row):
    with pytest.raises(endpoint.InvocationFailed):
        endpoint.invoke(",".join(map(str, row)), "text/csv")
