"""From probabilities on the working grid to label maps on the original one."""
