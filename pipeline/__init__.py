"""What the stages share: parameters, cases, resumable work, loops and the report."""
