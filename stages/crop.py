"""Stage `crop`: every pair on the working grid around its heart."""


def main() -> None:
    """Find the heart of every pair and resample CT, registered MR and the labels of both to the working grid.

    Writes data/cropped, and data/crop_qc.csv with the labelled voxels that the grid cuts off.
    """
    from pipeline.common.outputs import whole_folder
    from pipeline.common.pairs import make_pairs, read_manifest
    from pipeline.common.params import load_section
    from pipeline.common.paths import CROP_QC, CROPPED, MANIFEST, REGISTERED
    from pipeline.common.split_params import SplitParams
    from pipeline.cropping.crop_pairs import crop_pairs
    from pipeline.cropping.params import CropParams
    from pipeline.workers.params import RuntimeParams

    params = load_section(CropParams, "crop")
    pairs = make_pairs(read_manifest(MANIFEST), load_section(SplitParams, "split"))
    with whole_folder(CROPPED) as new:
        table = crop_pairs(pairs, params, REGISTERED, new, load_section(RuntimeParams, "runtime"))
    table.to_csv(CROP_QC, index=False)
