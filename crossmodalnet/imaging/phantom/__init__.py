"""The whole-heart phantom: an anatomy of signed distances, another one per subject, seen by CT or MR."""
