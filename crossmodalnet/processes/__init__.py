"""Work spread over processes of this machine."""
