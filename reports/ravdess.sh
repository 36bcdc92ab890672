#!/usr/bin/env bash
# Measures reports/GPU/ravdess: bash reports/ravdess.sh RAVDESS WHISPER FOLDER [PART]...
#   RAVDESS   the folder of the corpus, with Actor_01/ to Actor_24/
#   WHISPER   openai/whisper-base, or a folder of its encoder
#   PART      probe, costs, table, or a direction and a fold such as both-6; by default all, one after the other
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

mkdir -p "$folder"
for part in ${*:-$every}; do
    case $part in
        probe) $sbench probe --corpus "ravdess:$corpus" --fold all --speech "$speech" --output "$folder/probe" ;;
        costs)
            for direction in causal alternating both; do
                $sbench sweep sa/sdpa retnet/fla lightnet/triton gsa/fla fox/fla kda/fla --width 512 \
                    --direction $direction --lengths $median,400 --output "$folder/costs-$direction"
            done
            ;;
        table)
            $sbench table "$folder"/{causal,alternating,both}-? "$folder"/probe/fold-? --output "$folder/table" \
                --costs "$folder/costs-causal" --costs "$folder/costs-alternating" --costs "$folder/costs-both"
            ;;
        *-?)
            $sbench train --corpus "ravdess:$corpus" --fold ${part#*-} --direction ${part%-*} --speech "$speech" --no-text \
                --seeds 5 --crop whole --learning-rate 3e-4 ${OPTIONS:-} --evaluate test --output "$folder/$part"
            ;;
        *) echo "no such part: $part; there are $every" >&2; exit 2 ;;
    esac
done
