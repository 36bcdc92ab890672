#!/usr/bin/env bash
# Measures reports/GPU/gpus: how fast 1, 2 and 4 GPUs train and score, and what models trained on them score.
# bash reports/gpus.sh RAVDESS WHISPER FOLDER [PART]...
#   RAVDESS   the folder of the corpus, with Actor_01/ to Actor_24/
#   WHISPER   openai/whisper-base, or a folder of its encoder
#   PART      throughput-N or train-N, on N GPUs, or scores; by default all on 1, 2 and 4, one after the other
# Where sbench is not installed: run it from the checkout, with PYTHONPATH set to that.
set -euo pipefail
corpus=${1:?give the folder of RAVDESS} speech=${2:?give the encoder} folder=${3:?give a folder for the results}
shift 3
mkdir -p "$folder"
every="$(echo {throughput,train}-{1,2,4}) scores"
for part in ${*:-$every}; do
    sbench="python3 -m torch.distributed.run --standalone --nproc_per_node=${part#*-} -m bench.cli"
    case $part in
        throughput-*)
            $sbench throughput --seeds 4 --together --steps 15 --utterances 1600 --output "$folder/$part.json"
            ;;
        train-*)
            $sbench train --corpus "ravdess:$corpus" --fold 1 --speech "$speech" --no-text --seeds 4 --crop whole \
                --workers 4 --schedule one-cycle --learning-rate 1e-3 --classifier-layers 1 --output "$folder/$part"
            ;;
        scores) python3 reports/gpu_scores.py "$folder" ;;
        *) echo "no such part: $part" >&2; exit 2 ;;
    esac
done
