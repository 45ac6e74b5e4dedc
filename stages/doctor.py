"""`crossmodalnet doctor`: whether this machine can run these parameters."""

import typer


def main() -> None:
    """Check programs, packages, disk, memory, GPUs, data and parameters; exit 4 if something is missing."""
    from rich.console import Console
    from rich.markup import escape

    from pipeline.doctor import examine

    console = Console(soft_wrap=True)
    findings = examine()
    for finding in findings:
        mark = "[green]ok [/]" if finding.ok else "[red]no [/]"
        console.print(f"{mark} {finding.subject:<10} {escape(finding.text)}")
        if finding.remedy:
            console.print(f"               [yellow]{escape(finding.remedy)}[/]")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(4)
