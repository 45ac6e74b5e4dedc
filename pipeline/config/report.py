"""Parameters of the report stage: how its pictures are made."""

from pydantic import Field, model_validator

from crossmodalnet.config import Config, FloatPair


class ReportConfig(Config):
    """Section `report`."""

    panel_px: int = Field(320, ge=64, le=1024, description="longest side of an overlay panel, pixels")
    checkerboard_px: int = Field(
        440, ge=64, le=1600, description="longest side of a registration checkerboard, pixels"
    )
    margin_mm: float = Field(
        12.0, ge=0, le=100, description="margin shown around the heart in the overlays, mm"
    )
    ct_window_hu: FloatPair = Field((-160.0, 440.0), description="CT values shown as black and white, HU")
    jpeg_quality: int = Field(82, ge=30, le=95, description="JPEG quality of overlays and checkerboards")

    @model_validator(mode="after")
    def _window_is_ascending(self) -> "ReportConfig":
        low, high = self.ct_window_hu
        if low >= high:
            raise ValueError(f"ct_window_hu must ascend, got {low:g}, {high:g}")
        return self
