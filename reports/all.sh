#!/usr/bin/env bash
# Measures reports/GPU/all-*, every mixer and a hybrid from 10 s to 400 s: bash reports/all.sh FOLDER [PART]...
#   PART      a direction and a pass: causal-inference, alternating-inference, causal-training, alternating-training;
#             heads, the paper's mixers with 4 and with 8 heads; conformer, mixers in Conformers; report, the figures of
#             the first four in FOLDER/all; or rivals, kernels of others. By default all but rivals, one after the other.
#             rivals needs pip install 'sbench[cudnn,fa4,flashqla]'
# Parts can run on several GPUs at once: give each its CUDA_VISIBLE_DEVICES, then run report. Other lengths, and options of
# `sbench sweep`, for a try without a GPU: OPTIONS="--lengths 0.1,0.2 --time-budget 900". Where sbench is not installed:
# SBENCH="python3 -m bench.cli".
set -euo pipefail
folder=${1:?give a folder for the results}
shift
sbench=${SBENCH:-sbench}
parts="causal-inference alternating-inference causal-training alternating-training"

mkdir -p "$folder"
for part in ${*:-$parts heads conformer report}; do
    case $part in
        heads)
            $sbench sweep paper --heads 4,8 --direction causal --pass inference,training \
                ${OPTIONS:---lengths 10,60,400} --output "$folder/heads"
            ;;
        rivals)
            $sbench sweep sa/{sdpa,flash,cudnn,fa4} kda/{fla,cudnn} gated_deltanet/{fla,flashqla} fox/{fla,triton} \
                --heads 8 --direction causal --pass inference,training ${OPTIONS:---lengths 10,60,400} \
                --output "$folder/rivals"
            ;;
        conformer)
            $sbench sweep paper summary kda+sa --preset conformer ${OPTIONS:---lengths 10,60,400} \
                --output "$folder/conformer"
            ;;
        *-inference | *-training)
            $sbench sweep all kda+sa --direction ${part%-*} --pass ${part#*-} \
                ${OPTIONS:---lengths 10,30,60,100,200,400} --output "$folder/all-$part"
            ;;
        report) $sbench report "$folder"/all-*-* --output "$folder/all" ;;
        *) echo "no such part: $part; there are $parts heads conformer report rivals" >&2; exit 2 ;;
    esac
done
