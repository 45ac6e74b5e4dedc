"""Where a cohort comes from: the embedded phantom, or real data laid out as MM-WHS is."""
