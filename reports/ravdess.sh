#!/usr/bin/env bash
# Measures reports/GPU/ravdess: bash reports/ravdess.sh RAVDESS WHISPER FOLDER [PART]...
#   RAVDESS   the folder of the corpus, with Actor_01/ to Actor_24/
#   WHISPER   openai/whisper-base, or a folder of its encoder
#   PART      probe, costs, table, or a direction and a fold such as both-6; by default all, one after the other.
#             tries, or one of them such as one-cycle:3e-4:5:20:1: the search for the schedule, the learning rate, the
#             classifier's layers and the epochs, on the development speakers of folds 1 and 4
# Parts can run on several GPUs at once: give each its CUDA_VISIBLE_DEVICES. Where sbench is not installed:
# SBENCH="python3 -m bench.cli".
set -euo pipefail
corpus=${1:?give the folder of RAVDESS} speech=${2:?give the encoder} folder=${3:?give a folder for the results}
shift 3
sbench=${SBENCH:-sbench}
every=probe
for direction in causal alternating both; do for fold in 1 2 3 4 5 6; do every+=" $direction-$fold"; done; done
every+=" costs table"
median=3.7 # seconds: of the recordings of the corpus
tries=
for fold in 1 4; do
    for try in {plateau,one-cycle}:{3e-4,1e-3}:{1,5}:20 one-cycle:6e-4:1:20 one-cycle:3e-4:1:10; do
        tries+=" $try:$fold"
    done
done

train() { # fold, direction, folder, options
    local fold=$1 direction=$2 output=$3
    shift 3
    $sbench train --corpus "ravdess:$corpus" --fold "$fold" --direction "$direction" --speech "$speech" --no-text \
        --crop whole --workers 4 --output "$output" "$@"
}

mkdir -p "$folder"
for part in ${*:-$every}; do
    case $part in
        probe) $sbench probe --corpus "ravdess:$corpus" --fold all --speech "$speech" --output "$folder/probe" ;;
        costs)
            for direction in causal alternating both; do
                $sbench sweep sa/sdpa retnet/fla lightnet/triton gsa/fla fox/triton kda/fla --width 512 \
                    --direction $direction --lengths $median,400 --output "$folder/costs-$direction"
            done
            ;;
        table)
            $sbench table "$folder"/{causal,alternating,both}-? "$folder"/probe/fold-? --output "$folder/table" \
                --costs "$folder/costs-causal" --costs "$folder/costs-alternating" --costs "$folder/costs-both"
            ;;
        tries) bash "$0" "$corpus" "$speech" "$folder" $tries ;;
        *:*:*:*:?)
            IFS=: read -r schedule rate layers epochs fold <<<"$part"
            train $fold alternating "$folder/try-${part//:/-}" \
                --schedule $schedule --learning-rate $rate --classifier-layers $layers --epochs $epochs
            ;;
        *-?)
            train ${part#*-} ${part%-*} "$folder/$part" --seeds 5 --evaluate test \
                --schedule one-cycle --learning-rate 1e-3 --classifier-layers 1
            ;;
        *) echo "no such part: $part; there are $every" >&2; exit 2 ;;
    esac
done
