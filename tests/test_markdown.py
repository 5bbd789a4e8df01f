from spacy_goback.markdown import spread, table


def test_figures_are_set_to_the_right_and_words_to_the_left() -> None:
    assert table(["label", "F1", "seen as"], [["ZONE", 0.5, "TEST"]], left=(0, 2)).split("\n") == [
        "| label | F1 | seen as |",
        "|---|---:|---|",
        "| ZONE | 0.5 | TEST |",
    ]
    assert table(["a", "b"], []) == "| a | b |\n|---|---:|"


def test_one_run_has_no_deviation() -> None:
    assert spread([0.5]) == "0.500"
    assert spread([0.5, 0.7]) == "0.600 ± 0.141"
