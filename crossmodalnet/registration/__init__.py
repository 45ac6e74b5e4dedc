"""Registration of MR to CT by ANTs SyN, and how well it went."""
