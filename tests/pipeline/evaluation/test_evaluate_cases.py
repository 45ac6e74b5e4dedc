from types import SimpleNamespace

from pipeline.evaluation.evaluate_cases import takes_both, trained_with_missing


def test_networks_of_one_stream_do_not_take_both() -> None:
    cards = [SimpleNamespace(network=network) for network in ({}, {"streams": "both"}, {"streams": "mr"})]
    assert [takes_both(card) for card in cards] == [True, True, False]


def test_modality_dropout_is_read_from_the_card() -> None:
    trainings = ({}, {"modality_dropout": 0.0}, {"modality_dropout": 0.2})
    assert [trained_with_missing(SimpleNamespace(train=train)) for train in trainings] == [False, False, True]
