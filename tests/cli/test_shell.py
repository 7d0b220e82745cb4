"""The program in scripts of the shell."""

from pathlib import Path

from tests.cli.program import run_shell


def test_the_jobs_of_a_worker_in_the_background_of_a_script_can_be_interrupted(
    tmp_path: Path,
) -> None:
    """A script's ``&`` has the worker ignore Ctrl-C; whatever it starts would, too."""
    result = run_shell(
        """
        $Q enqueue --quiet --id a -- grep -E 'Sig(Ign|Blk)' /proc/self/status
        $Q worker start --drain --quiet & wait $!
        $Q logs a
        """,
        QUEUECTL_DB=str(tmp_path / "queue.db"),
    )

    assert result.err == ""
    assert [line.split() for line in result.out.splitlines()[-2:]] == [
        ["SigBlk:", "0" * 16],
        ["SigIgn:", "0" * 16],
    ]
