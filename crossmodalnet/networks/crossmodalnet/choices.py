"""What the options of CrossModalNet may be, where they are a choice between names."""

from typing import Literal

StreamNames = Literal["both", "ct", "mr"]
Values = Literal["a", "b"]
Similarity = Literal["dot", "cosine"]
Refines = Literal["keys", "queries"]
Residual = Literal["paper", "standard"]
Offsets = Literal["static", "predicted"]
Position = Literal["none", "sincos"]
Transition = Literal["linear", "conv"]
