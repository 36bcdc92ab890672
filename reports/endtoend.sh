#!/usr/bin/env bash
# Measures reports/GPU/end-to-end: what a mixer costs of a whole system, behind encoders of the shapes of XLS-R 300M and
# Whisper base, with random weights. bash reports/endtoend.sh FOLDER [OPTION]...
#   FOLDER    a new folder for the results
#   OPTION    of `sbench sweep`, in place of the encoders, widths and lengths below
# Where sbench is not installed: PYTHONPATH=. SBENCH="python3 -m bench.cli", from the checkout.
set -euo pipefail
folder=${1:?give a folder for the results}
shift
sbench=${SBENCH:-sbench}
# XLS-R makes 1024 features per frame, Whisper base 512. Whisper always hears windows of 30 s.
[ $# -gt 0 ] || set -- --with-encoder xlsr-random,whisper-base-random --encoder-window none,20 --width 512,1024 \
    --lengths 10,30,60,100,200,400
$sbench sweep "$@" --output "$folder"
$sbench report "$folder"
