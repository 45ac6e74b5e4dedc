"""From a network's input to a label map on the original grid: what evaluation and prediction share."""
