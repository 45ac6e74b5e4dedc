"""Stage `crop`: resample every pair to the working grid around its heart."""


def main() -> None:
    """Find the heart of every pair; resample CT, registered MR and both label maps to the working grid.

    Writes data/cropped, and data/crop_qc.csv with the labelled voxels that the grid cuts off.
    """
    from crossmodalnet.io.outputs import whole_folder
    from pipeline.cohort.pairs import make_pairs, read_manifest
    from pipeline.config.params import load_section
    from pipeline.config.sections import CropConfig, SplitConfig
    from pipeline.preparation.cropping import crop_pairs
    from pipeline.runtime.paths import CROP_QC, CROPPED, MANIFEST, REGISTERED
    from pipeline.runtime.workers import RuntimeConfig

    params = load_section(CropConfig, "crop")
    pairs = make_pairs(read_manifest(MANIFEST), load_section(SplitConfig, "split"))
    with whole_folder(CROPPED) as new:
        table = crop_pairs(pairs, params, REGISTERED, new, load_section(RuntimeConfig, "runtime"))
    table.to_csv(CROP_QC, index=False)
