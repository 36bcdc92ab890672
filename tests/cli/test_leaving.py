"""A command that fails leaves its group of processes."""

from pathlib import Path

import pytest
import torch.distributed

from bench import cli


def test_an_error_ends_the_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    monkeypatch.setattr("sys.argv", ["sbench", "report", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert not torch.distributed.is_initialized()
