"""What a sweep refuses."""

from pathlib import Path

import pytest
import torch

from tests.conftest import Sbench

BAD_INPUT = {
    "mixer": (["lightnett"], "unknown mixer 'lightnett'", "Did you mean 'lightnet'?"),
    "implementation": (["sa/spda"], "unknown implementation of sa 'spda'", "Did you mean 'sdpa'?"),
    "no implementation": (["sa/"], "unknown implementation of sa ''", "Available: reference"),
    "a year of audio": (["--lengths", "3e7"], "a call of 1,499,999,999 frames is more than 10,000,000", "--lengths"),
    "a huge batch": (["--batch", "1000000"], "frames is more than 10,000,000", "--batch"),
    "much text": (["--text-tokens", "100000000"], "frames is more than 10,000,000", "--text-tokens"),
    "output too long": (["--output", "a" * 300], "cannot be written: File name too long", "--output"),
    "preset": (["--preset", "mached"], "unknown preset 'mached'", "Did you mean 'matched'?"),
    "precision": (["--precision", "bf16"], "unknown precision 'bf16'", "Did you mean 'bfloat16'?"),
    "device": (["--device", "cdua"], "unknown device 'cdua'", "Did you mean 'cuda'?"),
    "zero": (["--lengths", "0"], "0 s", "rising lengths"),
    "negative": (["--max-seconds", "-3"], "-3 s", "rising lengths"),
    "below one frame": (["--lengths", "0.01"], "less than one frame", "rising lengths"),
    "reversed": (["--lengths", "20,10"], "10 s follows 20 s", "rising lengths"),
    "not a number": (["--lengths", "ten"], "--lengths ten: not every length is a number", "--lengths 10,20,40"),
    "nan": (["--max-seconds", "nan"], "finite", "rising lengths"),
    "infinite": (["--lengths", "10,inf"], "finite", "rising lengths"),
    "two lengths": (["--lengths", "1", "--max-seconds", "2"], "exclude each other", "--lengths"),
    "no process": (["--processes", "0"], "--processes 0 cannot be", "from 1 to 100"),
    "a million processes": (["--processes", "1000000"], "--processes 1000000 cannot be", "from 1 to 100"),
    "no time": (["--time-budget", "0"], "--time-budget 0.0", "seconds"),
    "audio without encoder": (["--audio", "."], "--audio needs --encoder", "xlsr-random"),
    "encoder without audio": (["--encoder", "xlsr-random"], "--encoder needs --audio", "xlsr-random"),
    "audio missing": (["--audio", "nowhere", "--encoder", "xlsr-random"], "no such folder: nowhere", "wav or flac"),
    "audio empty": (["--audio", "empty", "--encoder", "xlsr-random"], "empty", "wav or flac"),
    "audio broken": (["--audio", "broken", "--encoder", "xlsr-random"], "broken/bad.wav", ""),
    "encoder wrong": (["--audio", "recordings", "--encoder", "./nowhere"], "nowhere", "xlsr-random"),
    "part unknown": (["--with-encoder", "./nowhere"], "no such encoder: './nowhere'", "xlsr-random"),
    "part twice": (["--with-encoder", "xlsr-random,xlsr-random"], "a value is given twice", "once"),
    "no window": (["--with-encoder", "xlsr-random", "--encoder-window", "0"], "--encoder-window 0 is no", "none,20"),
    "short window": (["--with-encoder", "xlsr-random", "--encoder-window", "0.02"], "0.02 is no window", "from 0.025"),
    "endless window": (["--with-encoder", "xlsr-random", "--encoder-window", "inf"], "inf is no window", "none,20"),
    "window of words": (["--with-encoder", "xlsr-random", "--encoder-window", "wide"], "wide is no window", "none,20"),
    "window twice": (["--with-encoder", "xlsr-random", "--encoder-window", "20,20.0"], "given twice", "once"),
    "window of nothing": (["--encoder-window", "20"], "--encoder-window needs --with-encoder", "xlsr-random"),
    "output exists": (["--output", "empty"], "the output folder empty exists", "Give another --output."),
    "output is a file": (["--output", "file"], "the output file file exists", "Give another --output."),
    "output is a run": (["--output", "run"], "the output folder run exists", "Give another --output."),
    "output is a sweep": (["--output", "swept"], "the output folder swept exists", "or continue in it with --resume."),
    "output below a file": (["--output", "file/run"], "file/run cannot be written", "--output"),
    "resume nothing": (["--resume", "empty"], "empty/sweep.json is missing", "`sbench sweep` made"),
    "mixed without resume": (["--allow-mixed"], "--allow-mixed is for a sweep that continues", "--resume"),
    "unknown execution": (["--execution", "graphs"], "unknown execution 'graphs'", "graph"),
    "unknown pass": (["--pass", "train"], "unknown pass 'train'", "Did you mean 'training'?"),
    "one of several": (["--precision", "bfloat16,fp32"], "unknown precision 'fp32'", ""),
    "a name missing": (["--precision", "float32,,bfloat16"], "a name is missing in 'float32,,bfloat16'", "commas"),
    "given twice": (["--precision", "float32,float32"], "--precision float32,float32: a value is given twice", "once"),
    "no batch": (["--batch", "0"], "--batch 0 is not a number of sequences", "--batch 1,8"),
    "batch of words": (["--batch", "1,two"], "--batch 1,two is not a number of sequences", "--batch 1,8"),
    "no width": (["--width", "0"], "--width 0 is not a width of the mixers", "--width 512,1024"),
    "heads": (["--heads", "3"], "--heads 3 is no number of heads that divides the width", "--heads 4,8"),
    "heads of words": (["--heads", "some"], "--heads some is no number of heads", "--heads 4,8"),
    "heads twice": (["--heads", "8,8"], "--heads 8,8: a value is given twice", "once"),
    "hybrid of one": (["kda+kda"], "kda+kda is no hybrid of two mixers", "kda+sa"),
    "hybrid in a layer": (["kda+sa", "--preset", "layer"], "kda+sa has a block for each", "--preset matched"),
    "half of an implementation": (["kda+sa/sdpa"], "unknown implementation of kda+sa 'sdpa'", "fla+sdpa"),
    "odd width": (["--width", "512,100"], "--width 512,100 is not a width", "multiples of 32 up to 2048"),
    "wide": (["--width", "4096"], "--width 4096 is not a width of the mixers", "up to 2048"),
    "width of words": (["--width", "wide"], "--width wide is not a width of the mixers", "--width 512,1024"),
    "two widths of one encoder": (
        ["--width", "512,1024", "--audio", "recordings", "--encoder", "xlsr-random"],
        "--encoder xlsr-random has one width, --width 512,1024 asks for 2",
        "sweep of its own",
    ),
    "encoder of another width": (
        ["--width", "512", "--audio", "recordings", "--encoder", "xlsr-random"],
        "xlsr-random has 1024 features per frame, the mixers 512",
        "--width 1024",
    ),
    "less than no text": (["--text-tokens", "-1"], "--text-tokens -1 is less than none", "from 0"),
    "tf32 on a CPU": (["--precision", "tf32"], "--precision tf32 needs a GPU", "float32"),
    "graph on a CPU": (["--execution", "graph"], "needs a GPU", "eager"),
    "cold cache on a CPU": (["--cold-cache"], "the L2 cache of a GPU", "CPU"),
    "resume with options": (
        ["kda", "--resume", "empty"],
        "--resume continues the sweep as it was",
        "Remove MIXER",
    ),
    "resume with a seed": (["--resume", "empty", "--seed", "7"], "continues the sweep as it was", "--seed"),
    "resume on a device": (["--resume", "empty", "--device", "cpu"], "continues the sweep as it was", "--device"),
}


@pytest.mark.parametrize(("arguments", "message", "hint"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
@pytest.mark.usefixtures("recordings")
def test_bad_input_is_one_line_a_hint_and_nothing_written(
    sbench: Sbench, tmp_path: Path, arguments: list[str], message: str, hint: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bad.wav").write_text("this is no audio")
    (tmp_path / "file").write_text("")
    for folder, file in (("swept", "sweep.json"), ("run", "run.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = sbench("sweep", *arguments)
    first, *rest = err.splitlines()
    assert code == 2
    assert out == ""
    assert first.startswith("sbench: ")
    assert message in first
    assert len(rest) <= 1
    assert hint in "".join(rest)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none(sbench: Sbench) -> None:
    code, _, err = sbench("sweep", "--device", "cuda")
    assert code == 2
    assert "no CUDA GPU is visible" in err
    assert "built for CUDA" in err
    assert sbench("tune")[0] == 2
    assert "no setting with this value is tuned: tf32" in sbench("tune", "--precision", "native,tf32")[2]
    assert "unknown mixer 'kdaa'" in sbench("tune", "kdaa")[2]
