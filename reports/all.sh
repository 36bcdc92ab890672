#!/usr/bin/env bash
# Measures reports/GPU/all-*, every mixer from 10 s to 400 s: bash reports/all.sh FOLDER [PART]...
#   PART      a direction and a pass: causal-inference, alternating-inference, causal-training, alternating-training; or
#             report, the figures of all parts in FOLDER/all. By default all, one after the other
# Parts can run on several GPUs at once: give each its CUDA_VISIBLE_DEVICES, then run report. Other lengths, and options of
# `sbench sweep`, for a try without a GPU: OPTIONS="--lengths 0.1,0.2 --time-budget 900". Where sbench is not installed:
# SBENCH="python3 -m bench.cli".
set -euo pipefail
folder=${1:?give a folder for the results}
shift
sbench=${SBENCH:-sbench}
parts="causal-inference alternating-inference causal-training alternating-training"

mkdir -p "$folder"
for part in ${*:-$parts report}; do
    case $part in
        *-inference | *-training)
            $sbench sweep all --direction ${part%-*} --pass ${part#*-} \
                ${OPTIONS:---lengths 10,30,60,100,150,200,300,400} --output "$folder/all-$part"
            ;;
        report) $sbench report "$folder"/all-*-* --output "$folder/all" ;;
        *) echo "no such part: $part; there are $parts report" >&2; exit 2 ;;
    esac
done
