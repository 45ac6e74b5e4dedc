"""`crossmodalnet doctor`: check whether this machine can run the parameters."""

import typer


def main() -> None:
    """Check programs, packages, disk, memory, GPUs, data and parameters; exit code 4 on a missing one."""
    from rich.console import Console
    from rich.markup import escape

    from pipeline.doctor import examine

    console = Console(soft_wrap=True)
    findings = examine()
    for subject, is_ok, text, remedy in findings:
        mark = "[green]ok [/]" if is_ok else "[red]no [/]"
        console.print(f"{mark} {subject:<10} {escape(text)}")
        if remedy:
            console.print(f"               [yellow]{escape(remedy)}[/]")
    if not all(is_ok for _, is_ok, _, _ in findings):
        raise typer.Exit(4)
