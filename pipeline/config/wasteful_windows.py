"""Windows of the parameters that do not fit the patch, for `params` and the doctor."""

from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig, WastefulWindow
from pipeline.config.names import OURS
from pipeline.config.schema import Params


def wasteful_windows(params: Params) -> list[WastefulWindow]:
    """Name the windows of our network that pad a map by more than a tenth; none where it is not trained.

    Options that the network cannot be built from are the business of the training, which says what is wrong.
    """
    if OURS not in params.models:
        return []
    try:
        config = CrossModalNetConfig.from_mapping(params.network.crossmodalnet.options())
        config.check_size(params.train.patch_size)
    except ValueError:
        return []
    found = config.wasteful_windows(params.train.patch_size)
    return [WastefulWindow(f"network.{OURS}.{text}", remedy) for text, remedy in found]
