"""What the terms of JADA share: where they branch off, what they see, discriminators, drawn voxels."""
