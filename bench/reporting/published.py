"""Table 1 of the paper: macro F-scores in %, and the encoders of its columns."""

CORPUS = "msp-podcast"

SPLITS = {"development": "Dev", "test1": "T1", "test2": "T2"}

MIXERS = {"sa": "SA", "retnet": "RetNet", "lightnet": "LightNet", "gsa": "GSA", "fox": "FoX", "kda": "KDA"}

# By the short name in `sbench train` and by the id on the Hugging Face hub.
ENCODERS = {
    "wav2vec2-xlsr": "Wav2Vec2XLSR",
    "facebook/wav2vec2-xls-r-300m": "Wav2Vec2XLSR",
    "wavlm-large": "WavLM",
    "microsoft/wavlm-large": "WavLM",
    "wav2vec2-large": "Wav2Vec2",
    "facebook/wav2vec2-large-lv60": "Wav2Vec2",
    "hubert-large": "HuBERT",
    "facebook/hubert-large-ll60k": "HuBERT",
}

TEXT = "bert-large-uncased"
TEXT_ENCODERS = (TEXT, "google-bert/bert-large-uncased")

COLUMNS = tuple(dict.fromkeys(ENCODERS.values()))

MEAN = "Mean"

# Dev, T1 and T2 of each column, in the order of the columns; the mean of all is last.
_TABLE = """
sa       37.04 36.63 27.34  37.50 36.80 27.30  34.83 34.95 26.06  36.18 37.31 28.07  36.39 36.42 27.19
retnet   33.70 33.40 24.18  34.93 34.74 24.85  36.05 34.59 24.48  34.99 34.46 24.86  34.92 34.30 24.59
lightnet 38.11 34.59 25.56  37.73 33.54 25.19  36.23 33.97 25.10  34.40 33.63 24.90  36.62 33.93 25.19
gsa      25.74 26.32 18.61  36.94 29.66 19.53  35.77 31.96 23.80  32.48 33.01 24.97  32.73 30.24 21.73
fox      35.35 34.44 25.12  36.30 34.65 23.77  35.65 34.82 25.39  36.22 35.88 26.96  35.88 34.95 25.31
kda      34.13 34.50 26.88  31.50 32.95 23.13  34.09 33.70 25.11  34.26 30.72 22.73  33.50 32.97 24.46
"""

# (mixer, column, split) -> macro-F in %.
MACRO_F = {
    (mixer, column, split): float(figures[len(SPLITS) * place + offset])
    for mixer, *figures in map(str.split, _TABLE.strip().splitlines())
    for place, column in enumerate((*COLUMNS, MEAN))
    for offset, split in enumerate(SPLITS)
}
